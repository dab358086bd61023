/* The user's file, ~/.chos: read without privilege only, for what a link leads to must be the user's to read. */
#include "launcher.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* 1 and the name, 0 where there is none, -1 where the file says nothing that could be a name. */
int user_file_read(const char *file, const char **name, struct chos_error *e)
{
    char *path = room(PATH_MAX), *word = room(CHOS_DOTFILE_SIZE);
    const char *home = account()->home;
    struct chos_text t = {path, PATH_MAX, 0};
    *name = word;
    if (home == NULL || home[0] != '/')   /* of no account in /etc/passwd, and without $HOME */
        return chos_fail(e, CHOS_USER_FILE, 0, file);
    chos_put(&t, home);
    chos_put(&t, "/");
    chos_put(&t, file);
    long n = chos_dotfile_read(path, word);
    if (n < 0 || n >= CHOS_NAME_SIZE || (size_t)n != strlen(word))
        return chos_fail(e, CHOS_USER_FILE, n < 0 && errno != EINVAL ? errno : 0, path);
    return n > 0;
}
