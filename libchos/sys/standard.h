/* The descriptors 0, 1 and 2 of a program that is about to use privilege. In a header, so that pam_job_starter, which links nothing
 * of libchos, has the same code. */
#ifndef CHOS_STANDARD_H
#define CHOS_STANDARD_H

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>

/* If 0, 1 or 2 were closed, a file that we open would get that number, and messages or the command would write into it. -1: they
 * cannot be filled. */
static inline int chos_standard_fill(void)
{
    struct pollfd standard[] = {{0, 0, 0}, {1, 0, 0}, {2, 0, 0}};
    /* One call if all three are open. It fails if fewer than three descriptors are allowed. */
    bool closed = poll(standard, 3, 0) < 0 || ((standard[0].revents | standard[1].revents | standard[2].revents) & POLLNVAL) != 0;
    for (int fd = 0; closed && fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return -1;
    }
    return 0;
}

#endif
