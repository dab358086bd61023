/* The arguments and variables with which the host was started. All of them are read: the one that matters may come after
 * very long ones. */
#include "pam_chos.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LONGEST = 8 << 20 };   /* more than the kernel's own limit */

static size_t read_all(const char *file, char *text, size_t size)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t more = -1;
    while (fd >= 0 && n < size && (more = read(fd, text + n, size - n)) > 0)
        n += (size_t)more;
    if (fd >= 0)
        close(fd);
    if (more != 0 || n >= size)
        return 0;
    return n > 0 && text[n - 1] == '\0' ? n : n + 1;   /* with the NUL behind it */
}

/* Returns words that each end in NUL; NULL if they cannot be read. */
char *process_words(const char *file, size_t *size)
{
    char *text = mmap(NULL, LONGEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (text == MAP_FAILED)
        return NULL;
    *size = read_all(file, text, LONGEST - 1);
    if (*size > 0)
        return text;
    process_words_free(text);
    return NULL;
}

void process_words_free(char *line)
{
    (void)munmap(line, LONGEST);
}
