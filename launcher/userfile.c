/* The user's file, ~/.chos. Call this without privilege only: if it is a link, the user must be able to read the target. */
#include "launcher.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* 1 and the name; 0 if there is none; -1 if the file does not contain a possible name. */
int user_file_read(const char *file, const char **name, struct chos_error *e)
{
    char *path = room(PATH_MAX), *word = room(CHOS_DOTFILE_SIZE);
    const char *home = account()->home;
    struct chos_text t = {path, PATH_MAX, 0};
    *name = word;
    if (home == NULL || home[0] != '/')   /* the account is not in /etc/passwd, and $HOME is not set */
        return chos_fail(e, CHOS_USER_FILE, 0, file);
    chos_put(&t, home);
    chos_put(&t, "/");
    chos_put(&t, file);
    long n = chos_dotfile_read(path, word);
    if (n < 0 || n >= CHOS_NAME_SIZE || (size_t)n != strlen(word))
        return chos_fail(e, CHOS_USER_FILE, n < 0 && errno != EINVAL ? errno : 0, path);
    return n > 0;
}
