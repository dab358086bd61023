/* Returns to the base: from an environment, or from a service with its own mount namespace, where pins are not visible.
 *
 * The base's namespace is reached through a process that is in it: process 1, otherwise our nearest ancestor. The registry
 * is visible in every namespace that root made after it, and says which namespace is the base.
 */
#include "ns/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PROC = 0x9fa0, NS_OWNER = 0xb701, ANCESTORS = 64 };

static void proc_path(struct chos_text *t, uint64_t pid, const char *file)
{
    t->len = 0;
    chos_put(t, "/proc/");
    chos_put_number(t, pid);
    chos_put(t, file);
}

/* The parent, from "PID (anything, even parentheses) S PPID ..."; 0 if it is unknown. */
static uint64_t parent_of(uint64_t pid)
{
    char path[64], stat[512];
    struct chos_text t = {path, sizeof path, 0};
    uint64_t parent = 0;
    proc_path(&t, pid, "/stat");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    stat[n] = '\0';
    char *after = strrchr(stat, ')'), *end;
    if (after == NULL || strlen(after) < 5)
        return 0;
    after += 4;
    end = strchr(after, ' ');
    if (end != NULL)
        *end = '\0';
    return chos_number(after, INT32_MAX, &parent) == 0 ? parent : 0;
}

/* Whether a mount namespace belongs to our own user namespace. A namespace that a user made does not. If we led others into
 * it, that user's files would be used by the base's set-uid programs, and the user could become root. */
static bool is_ours(int fd)
{
    struct stat own, owner;
    int user = ioctl(fd, NS_OWNER);
    bool ours = user >= 0 && fstat(user, &owner) == 0 && stat("/proc/self/ns/user", &own) == 0
        && own.st_ino == owner.st_ino && own.st_dev == owner.st_dev;
    if (user >= 0)
        close(user);
    return ours;
}

/* A descriptor of the process's mount namespace if that is the base's, otherwise -1. */
static int open_base(const struct chos_session *s, uint64_t pid)
{
    struct stat st;
    char path[64];
    struct chos_text t = {path, sizeof path, 0};
    proc_path(&t, pid, "/ns/mnt");
    int fd = chos_fault("ancestor") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && st.st_ino == s->base.ns && chos_is_mount_ns(fd) && is_ours(fd))
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

/* On success we are in the base's namespace, and the registry is closed. open_base proves that it is the base before we enter
 * it. */
int chos_ns_return(struct chos_session *s, struct chos_error *e)
{
    struct statfs fs;
    uint64_t pid = 1, next = (uint64_t)getppid();
    int fd = -1;
    if (!s->moved)
        s->from_environment = !chos_root_is(&s->base.root);
    if (statfs("/proc", &fs) != 0 || fs.f_type != PROC)
        return chos_fail(e, CHOS_SYSTEM, errno, "/proc");
    chos_registry_close(s);   /* the caller opens it again in the base; closed now to have one descriptor more */
    errno = 0;
    for (int i = 0; i < ANCESTORS && pid > 0; i++) {
        fd = open_base(s, pid);
        if (fd >= 0 || errno == EMFILE)
            break;
        pid = next > 1 ? next : 0;
        next = parent_of(pid);
    }
    if (fd < 0) {
        int err = errno == EMFILE ? EMFILE : 0;
        enum chos_reason missing = chos_privs_missing();
        return chos_fail(e, missing == CHOS_FOREIGN ? CHOS_NO_WAY_BACK : missing, err, "the way back to the base");
    }
    int rc = chos_setns(fd, "the base", e);
    close(fd);
    if (rc != 0)
        return -1;
    s->moved = true;
    return 0;
}
