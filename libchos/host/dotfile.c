/* ~/.chos for root hosts: a child reads it as the user, and the content is used only as a name. */
#include "host.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

struct file { const char *home, *path; };

/* In the child. */
static void read_word(const void *context, struct answer *answer)
{
    const struct file *file = context;
    char path[PATH_MAX], word[CHOS_DOTFILE_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    chos_put(&t, file->home);
    chos_put(&t, "/");
    chos_put(&t, file->path);
    long n = chos_dotfile_read(path, word);
    if (n < 0) {
        answer->err = errno;
        return;
    }
    answer->len = (size_t)n;
    memcpy(answer->bytes, word, answer->len);
}

static int refuse(const struct choice *c, struct chos_text *why, const char *what, int err)
{
    chos_put(why, "~/");
    chos_put_safe(why, c->file);
    chos_put(why, ": ");
    chos_put(why, what);
    if (err != 0) {
        chos_put(why, " (");
        chos_put(why, strerror(err));
        chos_put(why, ")");
    }
    return -1;
}

int dotfile_read(const struct person *who, const struct choice *c, char word[CHOS_NAME_SIZE], struct chos_text *why)
{
    struct file file = {who->home, c->file};
    struct answer answer;
    int err = as_user(who, read_word, &file, c->timeout, &answer);
    if (answer.fd >= 0)
        close(answer.fd);
    if (err == ETIMEDOUT)
        return refuse(c, why, "cannot be read, the home directory does not answer", 0);
    if (err != 0)
        return refuse(c, why, "nobody could be asked for it", err);
    if (answer.err != 0)
        return refuse(c, why, answer.err == EINVAL || answer.err == ELOOP ? "is not a regular file" : "cannot be read",
                      answer.err == EINVAL ? 0 : answer.err);
    /* Only its form is checked here. The registry says whether there is an environment of that name. */
    if (answer.len >= CHOS_NAME_SIZE || memchr(answer.bytes, '\0', answer.len) != NULL)
        return refuse(c, why, "does not begin with the name of an environment", 0);
    memcpy(word, answer.bytes, answer.len);
    word[answer.len] = '\0';
    return answer.len > 0;
}
