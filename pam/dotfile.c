/* ~/.chos: what the user wrote there is read as the user, and is nothing but a name. */
#include "pam_chos.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file { const char *home, *path; };

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Pure: moves to the first word of a text and tells its length. A NUL is a letter of a word that is no name. */
size_t dotfile_word(const char **text, size_t n)
{
    const char *end = *text + n, *stop;
    while (*text < end && is_blank(**text))
        ++*text;
    for (stop = *text; stop < end && !is_blank(*stop);)
        stop++;
    return (size_t)(stop - *text);
}

/* Regular files only, and looked at before they are opened: opening a device may be an act. What the file
 * becomes between the two is looked at again. Links are followed with the user's rights, but not those of /proc. */
static int open_regular(const char *path)
{
    struct stat st;
    int fd = chos_openat2(path, O_PATH, RESOLVE_MAGICLINKS_NO);
    for (int i = 0; i < 2 && fd >= 0; i++) {
        if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
            close(fd);
            errno = EINVAL;
            return -1;
        }
        if (i == 0) {
            close(fd);
            fd = chos_openat2(path, O_RDONLY, RESOLVE_MAGICLINKS_NO);
        }
    }
    return fd;
}

/* In the child. */
static void read_word(const void *context, struct answer *answer)
{
    const struct file *file = context;
    char text[ANSWER_MAX + 1] = "";
    int fd = chdir(file->home) ? -1 : open_regular(file->path);
    ssize_t n = fd < 0 ? -1 : read(fd, text, ANSWER_MAX);
    if (n < 0) {
        answer->err = errno;
        return;
    }
    const char *word = text;
    answer->len = dotfile_word(&word, (size_t)n);
    memcpy(answer->bytes, word, answer->len);
}

static int refuse(const struct pam_options *o, struct chos_text *why, const char *what, int err)
{
    chos_put(why, "~/");
    chos_put_safe(why, o->file);
    chos_put(why, ": ");
    chos_put(why, what);
    if (err != 0) {
        chos_put(why, " (");
        chos_put(why, strerror(err));
        chos_put(why, ")");
    }
    return -1;
}

int dotfile_read(const struct person *who, const struct pam_options *o, char word[CHOS_NAME_SIZE], struct chos_text *why)
{
    struct file file = {who->home, o->file};
    struct answer answer;
    int err = as_user(who, read_word, &file, o->timeout, &answer);
    if (answer.fd >= 0)
        close(answer.fd);
    if (err == ETIMEDOUT)
        return refuse(o, why, "cannot be read, the home directory does not answer", 0);
    if (err != 0)
        return refuse(o, why, "nobody could be asked for it", err);
    if (answer.err == ENOENT || answer.err == ENOTDIR)
        return 0;
    if (answer.err != 0)
        return refuse(o, why, answer.err == EINVAL || answer.err == ELOOP ? "is not a regular file" : "cannot be read",
                      answer.err == EINVAL ? 0 : answer.err);
    /* Whether it is the name of anything is for the registry to say. */
    if (answer.len >= CHOS_NAME_SIZE || memchr(answer.bytes, '\0', answer.len) != NULL)
        return refuse(o, why, "does not begin with the name of an environment", 0);
    memcpy(word, answer.bytes, answer.len);
    word[answer.len] = '\0';
    return answer.len > 0;
}
