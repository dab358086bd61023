/* A pin is a mount namespace that is kept alive by a bind mount of its file. */
#include "ns/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { NSFS = 0x6e736673, NS_TYPE = 0xb703 };

/* Only namespaces are files of nsfs, and the kernel tells the type of each. */
bool chos_is_mount_ns(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS && ioctl(fd, NS_TYPE) == CLONE_NEWNS;
}

/* Opens the pin of the generation. CHOS_RETIRED: it is an empty file, as in a namespace that was made later. */
int chos_pin_open(const struct chos_session *s, struct chos_error *e)
{
    struct statfs fs;
    int fd = chos_fault("pin") ? -1 : chos_generation_open(s, "/ns");
    if (fd < 0 && errno == EACCES)   /* closed to the user since it was found */
        return chos_fail(e, CHOS_DENIED, 0, s->alias);
    if (fd < 0)
        return chos_fail(e, errno == ENOENT ? CHOS_RETIRED : CHOS_CORRUPT, errno, s->target.name);
    if (chos_is_mount_ns(fd))
        return fd;
    bool plain = fstatfs(fd, &fs) == 0 && fs.f_type != NSFS;
    close(fd);
    return chos_fail(e, plain ? CHOS_RETIRED : CHOS_CORRUPT, 0, s->target.name);
}

/* Afterwards root and working directory are the namespace's root. */
int chos_setns(int fd, const char *object, struct chos_error *e)
{
    if (!chos_fault("setns") && setns(fd, CLONE_NEWNS) == 0)
        return 0;
    int err = errno;
    enum chos_reason reason = err == EPERM ? chos_privs_missing() : err == EINVAL ? CHOS_THREADS
        : err == ENOSYS ? CHOS_OLD_KERNEL : CHOS_SYSTEM;
    return chos_fail(e, reason, err, object);
}
