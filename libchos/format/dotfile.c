/* ~/.chos: read with the rights of the user who owns it, and used only as the name of an environment. */
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Moves *text to its first word and returns the word's length. A NUL counts as part of the word; the name check refuses it. */
size_t chos_dotfile_word(const char **text, size_t n)
{
    const char *end = *text + n, *stop;
    while (*text < end && is_blank(**text))
        ++*text;
    for (stop = *text; stop < end && !is_blank(*stop);)
        stop++;
    return (size_t)(stop - *text);
}

/* Opens regular files only. The type is checked before opening, because opening a device can have effects, and again
 * afterwards, because the file may have been replaced. Links are followed with the user's rights, except the links of /proc. */
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

long chos_dotfile_read(const char *path, char word[CHOS_DOTFILE_SIZE])
{
    char text[CHOS_DOTFILE_SIZE];
    int fd = open_regular(path);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int err = errno;
    if (fd >= 0)
        close(fd);
    word[0] = '\0';
    errno = err;
    if (n < 0)
        return err == ENOENT || err == ENOTDIR ? 0 : -1;
    const char *first = text;
    size_t len = chos_dotfile_word(&first, (size_t)n);
    memcpy(word, first, len);
    word[len] = '\0';
    return (long)len;
}
