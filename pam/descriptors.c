/* Looks at all open descriptors of this process, however many. With a limit, the user who started the host could open so many
 * that the important one is not looked at.
 *
 * Called in children of a process that may have had threads: no heap, and system calls only.
 */
#include "pam_chos.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

enum { NAMES = 4096, LEADER_MAJOR = 5, LEADER_MINOR = 2, SLAVE = 136, SLAVES = 8, MINORS = 256 };

struct entry { uint64_t inode; int64_t offset; uint16_t size; uint8_t type; char name[]; };

/* 1: `see` returned true for one of them, 0: for none, -1: they cannot be listed. Called on the base, whose /proc it reads. */
int any_descriptor(descriptor_test *see, const void *context)
{
    _Alignas(struct entry) char names[NAMES];
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = dir < 0 ? -1 : 0;
    struct stat st;
    long n;
    while (found == 0 && (n = syscall(SYS_getdents64, dir, names, sizeof names)) != 0) {
        if (n < 0)
            found = -1;
        for (long at = 0; found == 0 && at < n;) {
            const struct entry *entry = (const struct entry *)(const void *)(names + at);
            int fd = (int)strtol(entry->name, NULL, 10);
            if (entry->name[0] != '.' && fd != dir && fstat(fd, &st) == 0)
                found = see(fd, &st, context);
            at += entry->size;
        }
    }
    if (dir >= 0)
        close(dir);
    return found;
}

/* Device numbers are not enough: a terminal of another devpts has the same, and every user can mount one. */
static int is_leader_of(int fd, const struct stat *leader, const void *context)
{
    const struct stat *slave = context;
    struct stat st;
    unsigned number;
    if (!S_ISCHR(leader->st_mode) || leader->st_rdev != makedev(LEADER_MAJOR, LEADER_MINOR)
        || ioctl(fd, TIOCGPTN, &number) || number != minor(slave->st_rdev) + (major(slave->st_rdev) - SLAVE) * MINORS)
        return 0;
    int peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (peer < 0)
        return -1;
    int rc = fstat(peer, &st);
    close(peer);
    return rc != 0 ? -1 : st.st_dev == slave->st_dev && st.st_ino == slave->st_ino;
}

/* Whether this is the user's end of a terminal whose other end we hold too. Then the host has made this terminal. */
int is_served_terminal(const struct stat *st)
{
    if (!S_ISCHR(st->st_mode) || major(st->st_rdev) < SLAVE || major(st->st_rdev) >= SLAVE + SLAVES)
        return 0;
    return any_descriptor(is_leader_of, st);
}
