/* Floor sys. It defines constants of the kernel itself, because musl comes without the kernel's headers. */
#ifndef CHOS_SYS_H
#define CHOS_SYS_H

#include "chos.h"

enum {
    TMPFS = 0x01021994,
    RESOLVE_MAGICLINKS_NO = 0x02,
    RESOLVE_SYMLINKS_NO = 0x04,
    RESOLVE_BELOW = 0x08,
    RESOLVE_STRICT = RESOLVE_MAGICLINKS_NO | RESOLVE_SYMLINKS_NO | RESOLVE_BELOW,
};

/* open.c */
int chos_openat2(const char *path, int flags, uint64_t resolve);
int chos_openat2_at(int dir, const char *path, int flags, uint64_t resolve);

#endif
