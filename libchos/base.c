/* Back to the base: from an environment, or from a service with mounts of its own, where pins cannot be seen.
 *
 * Whoever is still in the base lends us the way: process 1, else our nearest ancestor that is. Nobody is
 * believed: a namespace is the base when the registry that is found in it names that very namespace and root.
 */
#include "internal.h"

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

bool chos_in_base(const struct chos_session *s)
{
    struct stat st;
    return stat("/proc/self/ns/mnt", &st) == 0 && st.st_ino == s->base.ns;
}

bool chos_root_is(const struct chos_root *root)
{
    struct stat st;
    return !chos_fault("root") && stat("/", &st) == 0 && st.st_dev == root->dev && st.st_ino == root->ino;
}

static void proc_path(struct chos_text *t, uint64_t pid, const char *file)
{
    t->len = 0;
    chos_put(t, "/proc/");
    chos_put_number(t, pid);
    chos_put(t, file);
}

/* The parent, from "PID (anything, even parentheses) S PPID ..."; 0 where it cannot be told. */
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

/* A mount namespace that belongs to our own user namespace: one that a user made with fakes in it does not. */
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

static int try_process(struct chos_session *s, uint64_t pid, struct chos_error *e)
{
    struct statfs fs;
    struct stat here, there = {.st_ino = 0};
    char path[64];
    struct chos_text t = {path, sizeof path, 0};
    proc_path(&t, pid, "/ns/mnt");
    if (statfs("/proc", &fs) != 0 || fs.f_type != PROC || stat("/proc/self/ns/mnt", &here) != 0)
        return chos_fail(e, CHOS_SYSTEM, errno, "/proc");
    int fd = chos_fault("ancestor") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    errno = 0;
    bool candidate = fd >= 0 && fstat(fd, &there) == 0 && there.st_ino != here.st_ino
        && chos_is_mount_ns(fd) && is_ours(fd);
    int rc = candidate ? chos_setns(fd, path, e)
        : errno == EMFILE ? chos_fail(e, CHOS_SYSTEM, EMFILE, path)   /* asking for the owner takes one more */
        : chos_fail(e, CHOS_NO_REGISTRY, 0, CHOS_REGISTRY);
    if (fd >= 0)
        close(fd);
    if (rc != 0)
        return -1;
    s->moved = true;
    if (chos_registry_open(s, e) || chos_base_read(s, e))
        return -1;
    if (s->base.ns != there.st_ino || !chos_root_is(&s->base.root))
        return chos_fail(e, CHOS_WRONG_ROOT, 0, path);
    return 0;
}

/* On success we are in the base and in its registry. On failure we may be anywhere: execute nothing. */
int chos_base_return(struct chos_session *s, struct chos_error *e)
{
    uint64_t pid = 1, next = (uint64_t)getppid();
    struct chos_error telling;
    chos_fail(&telling, CHOS_NO_REGISTRY, 0, CHOS_REGISTRY);
    /* A service with private mounts has the base's root; where no registry told us of it, nothing is equal. */
    s->from_environment = !chos_root_is(&s->base.root);
    for (int i = 0; i < ANCESTORS && pid > 0; i++) {
        if (try_process(s, pid, e) == 0)
            return 0;
        if (e->reason != CHOS_NO_REGISTRY)
            telling = *e;   /* that may have been the base: say what is wrong with it, if no other is found */
        pid = next > 1 ? next : 0;
        next = parent_of(pid);
    }
    enum chos_reason missing = chos_privs_missing();
    if (missing != CHOS_FOREIGN)
        return chos_fail(e, missing, 0, "the way back to the base");
    *e = telling;
    return -1;
}
