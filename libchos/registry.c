/* Reading /run/chos: what a name stands for, and the files of a generation.
 *
 * Nothing here is opened by a path that a user gave, nothing leads out of the registry, and a directory
 * is used only when root alone can write in it. The working directory is the handle; see chos.h.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437   /* the same number on every architecture but alpha */
#endif

enum { TMPFS = 0x01021994 };

/* O_NONBLOCK: a FIFO where a file should be must not hang us. */
int chos_openat2(const char *path, int flags, uint64_t resolve)
{
    struct { uint64_t flags, mode, resolve; } how = {(uint64_t)(flags | O_CLOEXEC), 0, resolve};
    if (!(flags & O_PATH))
        how.flags |= O_NONBLOCK | O_NOCTTY;
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

/* Makes a directory that only root can write in the working directory. */
static int enter_directory(const char *path, uint64_t resolve, enum chos_reason missing, struct chos_error *e)
{
    struct stat st;
    int fd = chos_fault(missing == CHOS_RETIRED ? "generation" : "registry") ? -1
        : chos_openat2(path, O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve);
    if (fd < 0)
        return chos_fail(e, errno == ENOENT ? missing : errno == ENOSYS ? CHOS_OLD_KERNEL : CHOS_SYSTEM, errno, path);
    int rc = fstat(fd, &st);
    bool trusted = rc == 0 && st.st_uid == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
    if (trusted)
        rc = fchdir(fd);
    int err = errno;
    close(fd);
    if (rc != 0)
        return chos_fail(e, err == EACCES ? CHOS_DENIED : CHOS_SYSTEM, err, path);
    return trusted ? 0 : chos_fail(e, CHOS_UNSAFE, 0, path);
}

long chos_file_read(const char *path, char text[CHOS_FILE_SIZE], struct chos_error *e)
{
    int fd = chos_fault(path) ? -1 : chos_openat2(path, O_RDONLY, RESOLVE_STRICT);
    if (fd < 0)
        return chos_fail(e, errno == ENOENT || errno == ELOOP ? CHOS_CORRUPT : CHOS_SYSTEM, errno, path);
    /* A regular file on tmpfs is read in one piece. */
    ssize_t n = read(fd, text, CHOS_FILE_SIZE);
    int err = errno;
    close(fd);
    return n >= 0 ? n : chos_fail(e, CHOS_SYSTEM, err, path);
}

/* The writer makes the link `backend` last, so where it is, everything else is. */
static int open_registry_at(const char *path, struct chos_session *s, struct chos_error *e)
{
    if (enter_directory(path, RESOLVE_MAGICLINKS_NO, CHOS_NO_REGISTRY, e))
        return -1;
    ssize_t n = chos_fault("backend") ? -1 : readlink("backend", s->backends, sizeof s->backends - 1);
    if (n < 0)
        return errno == ENOENT ? chos_fail(e, CHOS_NO_REGISTRY, 0, path)
            : chos_fail(e, errno == EINVAL ? CHOS_CORRUPT : CHOS_SYSTEM, errno, path);
    s->backends[n] = '\0';
    return 0;
}

static int open_anywhere(struct chos_session *s, struct chos_error *e)
{
    struct chos_error ignored;
    struct statfs fs;
    if (open_registry_at(CHOS_REGISTRY, s, e) == 0)
        return 0;
    return e->reason == CHOS_NO_REGISTRY && open_registry_at("/local" CHOS_REGISTRY, s, &ignored) == 0
        && statfs(".", &fs) == 0 && fs.f_type == TMPFS ? 0 : -1;
}

/* The registry as it is seen in this mount namespace; where the base's /run is not shown, below its root. There it
 * must be a tmpfs, which no user can mount: a site's own /local may be users' to write, and FUSE shows their files
 * as root's. Below the module's root directory it cannot be seen at all, for no bind shows it: then we leave that. */
int chos_registry_open(struct chos_session *s, struct chos_error *e)
{
    if (open_anywhere(s, e) == 0)
        return 0;
    if (e->reason != CHOS_NO_REGISTRY || !chos_kmod_inside())
        return -1;
    s->from_environment = s->moved = true;
    return chos_kmod_leave(e) || open_anywhere(s, e) ? -1 : 0;
}

int chos_backend_choose(struct chos_session *s, struct chos_error *e)
{
    int backend = chos_backend_parse(s->backends, s->wanted);
    if (backend < 0)
        return chos_fail(e, CHOS_NO_BACKEND, 0, s->wanted != NULL ? s->wanted : s->backends);
    s->backend = backend == CHOS_KMOD ? CHOS_KMOD : CHOS_NS;
    return 0;
}

/* How to recognise the base; from the registry, which must be the working directory. */
int chos_base_read(struct chos_session *s, struct chos_error *e)
{
    long len = chos_file_read("base", s->text, e);
    if (len < 0)
        return -1;
    return chos_base_parse(s->text, (size_t)len, &s->base) == 0 ? 0
        : chos_fail(e, CHOS_CORRUPT, 0, CHOS_REGISTRY "/base");
}

int chos_login_read(struct chos_login *login, struct chos_error *e)
{
    long len = chos_file_read("login", login->text, e);
    if (len < 0)
        return -1;
    return chos_login_parse(login->text, (size_t)len, login) == 0 ? 0
        : chos_fail(e, CHOS_CORRUPT, 0, CHOS_REGISTRY "/login");
}

/* The same trust as in the registry's directories: root's alone to write, and below /local nothing but a tmpfs. */
static int open_jobs(const char *path)
{
    struct stat st;
    struct statfs fs;
    int fd = chos_openat2(path, O_RDONLY | O_NOFOLLOW, RESOLVE_MAGICLINKS_NO);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0
        || fstatfs(fd, &fs) || fs.f_type != TMPFS)) {
        close(fd);
        errno = EPERM;
        return -1;
    }
    return fd;
}

/* As with the registry itself: here, below the base's root, or out of the module's root directory. */
static int find_jobs(struct chos_error *e)
{
    static const char path[] = CHOS_REGISTRY "/jobs", below[] = "/local" CHOS_REGISTRY "/jobs";
    int fd = open_jobs(path);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        fd = open_jobs(below);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && chos_kmod_inside())
        return chos_kmod_open_outside(open_jobs, path, e);
    return fd >= 0 ? fd : chos_fail(e, errno == EPERM ? CHOS_UNSAFE : CHOS_SYSTEM, errno, path);
}

int chos_jobs_read(struct chos_jobs *jobs, struct chos_error *e)
{
    int fd = find_jobs(e);
    if (fd < 0 && e->reason == CHOS_SYSTEM && (e->err == ENOENT || e->err == ENOTDIR)) {
        jobs->user_file = jobs->file = NULL;
        jobs->memory = jobs->processes = 0;
        jobs->stays = 0;
        jobs->syslog = false;
        return 0;
    }
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, jobs->text, CHOS_FILE_SIZE);
    int err = errno;
    close(fd);
    if (n < 0)
        return chos_fail(e, CHOS_SYSTEM, err, CHOS_REGISTRY "/jobs");
    return chos_jobs_parse(jobs->text, (size_t)n, jobs) == 0 ? 0 : chos_fail(e, CHOS_CORRUPT, 0, CHOS_REGISTRY "/jobs");
}

int chos_choose(struct chos_session *s, const char *alias, struct chos_error *e)
{
    s->alias = alias;
    return chos_name_escape(alias, s->name) == 0 ? 0 : chos_fail(e, CHOS_ILLEGAL, 0, alias);
}

/* A name that leads nowhere: one that is not configured, or one that could not be prepared; then its file says why. */
static int leads_nowhere(const char *name, const char *shown, struct chos_error *e)
{
    char path[sizeof "failed/" + CHOS_NAME_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    chos_put(&t, "failed/");
    chos_put(&t, name);
    int fd = chos_openat2(path, O_RDONLY, RESOLVE_STRICT);
    chos_fail(e, CHOS_NOT_PREPARED, 0, shown);
    ssize_t n = fd < 0 ? -1 : read(fd, e->detail, sizeof e->detail - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return chos_fail(e, CHOS_UNKNOWN, 0, shown);
    e->detail[n] = '\0';
    e->detail[strcspn(e->detail, "\n")] = '\0';
    return -1;
}

static int read_link(const char *name, const char *shown, struct chos_link *link, struct chos_error *e)
{
    char path[sizeof "env/" + CHOS_NAME_SIZE], to[sizeof "../gen/" + CHOS_NAME_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    chos_put(&t, "env/");
    chos_put(&t, name);
    ssize_t n = chos_fault("link") ? -1 : readlink(path, to, sizeof to - 1);
    if (n < 0)
        return errno == ENOENT ? leads_nowhere(name, shown, e)
            : chos_fail(e, errno == EINVAL ? CHOS_CORRUPT : CHOS_SYSTEM, errno, path);
    to[n] = '\0';
    return chos_link_parse(to, link) == 0 ? 0 : chos_fail(e, CHOS_CORRUPT, 0, path);
}

/* From the name to its generation: its directory becomes the working directory, its policy is read. */
int chos_find(struct chos_session *s, struct chos_error *e)
{
    char path[sizeof "gen/" + CHOS_NAME_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    struct chos_link *to = &s->target;
    memset(&s->policy, 0, sizeof s->policy);
    if (read_link(s->name, s->alias, to, e))
        return -1;
    if (to->kind == CHOS_TO_NAME) {
        char other[CHOS_NAME_SIZE];
        memcpy(other, to->name, sizeof other);
        /* Names are taken away one by one: one that leads nowhere for a moment is not one that was never there. */
        if (read_link(other, other, to, e))
            return e->reason == CHOS_UNKNOWN ? chos_fail(e, CHOS_RETIRED, 0, s->alias) : -1;
        if (to->kind == CHOS_TO_NAME)
            return chos_fail(e, CHOS_CORRUPT, ELOOP, s->alias);
    }
    if (to->kind == CHOS_TO_BASE)
        return 0;

    chos_put(&t, "gen/");
    chos_put(&t, to->name);
    if (enter_directory(path, RESOLVE_STRICT, CHOS_RETIRED, e))
        return e->reason == CHOS_DENIED ? chos_fail(e, CHOS_DENIED, 0, s->alias) : -1;
    long len = chos_file_read("policy", s->text, e);
    if (len < 0)
        return chos_fail(e, e->err == ENOENT ? CHOS_RETIRED : CHOS_CORRUPT, e->err, path);
    if (chos_policy_parse(s->text, (size_t)len, &s->policy) || s->policy.generation != to->number
        || strlen(s->policy.name) != to->stem || memcmp(s->policy.name, to->name, to->stem) != 0) {
        chos_put(&t, "/policy");
        return chos_fail(e, CHOS_CORRUPT, 0, path);
    }
    return 0;
}
