/* openat2(2), which libc has no function for. */
#include "sys/sys.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437   /* the same number on every architecture but alpha */
#endif

/* O_NONBLOCK, because a FIFO in the place of a file must not make us hang. */
int chos_openat2_at(int dir, const char *path, int flags, uint64_t resolve)
{
    struct { uint64_t flags, mode, resolve; } how = {(uint64_t)(flags | O_CLOEXEC), 0, resolve};
    if (!(flags & O_PATH))
        how.flags |= O_NONBLOCK | O_NOCTTY;
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

int chos_openat2(const char *path, int flags, uint64_t resolve)
{
    return chos_openat2_at(AT_FDCWD, path, flags, resolve);
}
