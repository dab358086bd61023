/* Reading /run/chos: what a name stands for, and the files of a generation.
 *
 * No path that a user gave is opened, nothing leads out of the registry, and a directory is used only if only root can write
 * in it. Everything is opened relative to one descriptor, the registry's. So the working directory need not change, and a
 * generation needs no descriptor of its own.
 */
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Whether only root can change anything in this directory. */
bool chos_is_roots(const struct stat *st)
{
    return S_ISDIR(st->st_mode) && st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static int open_directory(const char *path, struct chos_error *e)
{
    struct stat st;
    int fd = chos_fault("registry") ? -1 : chos_openat2_at(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, RESOLVE_MAGICLINKS_NO);
    if (fd < 0)
        return chos_fail(e, errno == ENOENT ? CHOS_NO_REGISTRY : errno == ENOSYS ? CHOS_OLD_KERNEL : CHOS_SYSTEM, errno, path);
    if (fstat(fd, &st) == 0 && chos_is_roots(&st))
        return fd;
    close(fd);
    return chos_fail(e, CHOS_UNSAFE, 0, path);
}

/* A file of the registry, by its path there. */
int chos_file_open(const struct chos_session *s, const char *path, struct chos_error *e)
{
    int fd = chos_openat2_at(s->registry, path, O_RDONLY, RESOLVE_STRICT);
    return fd >= 0 ? fd : chos_fail(e, errno == ENOENT || errno == ELOOP ? CHOS_CORRUPT : CHOS_SYSTEM, errno, path);
}

long chos_file_read(const struct chos_session *s, const char *path, char *text, size_t size, struct chos_error *e)
{
    int fd = chos_file_open(s, path, e);
    if (fd < 0)
        return -1;
    /* A regular file on tmpfs is read in one piece. */
    ssize_t n = read(fd, text, size);
    int err = errno;
    close(fd);
    return n >= 0 ? n : chos_fail(e, CHOS_SYSTEM, err, path);
}

void chos_registry_close(struct chos_session *s)
{
    if (s->held)
        close(s->registry);
    s->held = false;
}

/* The writer makes the link `backend` last. If it exists, everything else exists. */
static int open_registry_at(const char *path, struct chos_session *s, struct chos_error *e)
{
    int fd = open_directory(path, e);
    if (fd < 0)
        return -1;
    ssize_t n = chos_fault("backend") ? -1 : readlinkat(fd, "backend", s->backends, sizeof s->backends - 1);
    if (n < 0) {
        int err = errno;
        close(fd);
        return err == ENOENT ? chos_fail(e, CHOS_NO_REGISTRY, 0, path)
            : chos_fail(e, err == EINVAL ? CHOS_CORRUPT : CHOS_SYSTEM, err, path);
    }
    s->backends[n] = '\0';
    chos_registry_close(s);
    s->registry = fd;
    s->held = true;
    return 0;
}

/* Opens the registry in this mount namespace: at /run/chos, or below /local if the base's /run is not shown. Below /local it must be
 * on a tmpfs, which users cannot mount. (Users may be able to write in a site's own /local, and FUSE can show their files as
 * root's.) CHOS_NO_REGISTRY: it is not visible here; the caller may have to leave the root directory of a backend first. */
int chos_registry_find(struct chos_session *s, struct chos_error *e)
{
    struct chos_error below;
    struct statfs fs;
    if (open_registry_at(CHOS_REGISTRY, s, e) == 0)
        return 0;
    if (e->reason != CHOS_NO_REGISTRY)
        return -1;
    if (open_registry_at("/local" CHOS_REGISTRY, s, &below) == 0) {
        if (fstatfs(s->registry, &fs) == 0 && fs.f_type == TMPFS)
            return 0;
        chos_registry_close(s);
    } else if (below.err == EMFILE) {   /* anything else may be a site's own /local */
        *e = below;
    }
    return -1;
}

int chos_login_read(const struct chos_session *s, struct chos_login *login, struct chos_error *e)
{
    long len = chos_fault("login") ? chos_fail(e, CHOS_SYSTEM, errno, "login")
        : chos_file_read(s, "login", login->text, CHOS_FILE_SIZE, e);
    if (len < 0)
        return -1;
    return chos_login_parse(login->text, (size_t)len, login) == 0 ? 0
        : chos_fail(e, CHOS_CORRUPT, 0, CHOS_REGISTRY "/login");
}

int chos_choose(struct chos_session *s, const char *alias, struct chos_error *e)
{
    s->alias = alias;
    return chos_name_escape(alias, s->name) == 0 ? 0 : chos_fail(e, CHOS_ILLEGAL, 0, alias);
}

/* The error for a name that leads nowhere: it is not configured, or could not be prepared. In that case a file says why. */
static int leads_nowhere(const struct chos_session *s, const char *name, const char *shown, struct chos_error *e)
{
    char path[sizeof "failed/" + CHOS_NAME_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    chos_put(&t, "failed/");
    chos_put(&t, name);
    int fd = chos_openat2_at(s->registry, path, O_RDONLY, RESOLVE_STRICT);
    if (fd < 0)   /* if it cannot be looked at, it may exist, so it must not be replaced by a default */
        return errno == ENOENT ? chos_fail(e, CHOS_UNKNOWN, 0, shown) : chos_fail(e, CHOS_SYSTEM, errno, shown);
    chos_fail(e, CHOS_NOT_PREPARED, 0, shown);
    ssize_t n = read(fd, e->detail, sizeof e->detail - 1);
    close(fd);
    if (n <= 0)
        return chos_fail(e, CHOS_UNKNOWN, 0, shown);
    e->detail[n] = '\0';
    e->detail[strcspn(e->detail, "\n")] = '\0';
    return -1;
}

/* `through`: by a path through the generation's directory, so that the kernel checks whether the user may enter it. */
static int read_link(const struct chos_session *s, const char *name, const char *shown, bool through, struct chos_link *link,
                     struct chos_error *e)
{
    char path[2 * CHOS_NAME_SIZE + 32], to[sizeof "../gen/" + CHOS_NAME_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    chos_put(&t, through ? "gen/" : "");
    chos_put(&t, through ? s->target.name : "");
    chos_put(&t, through ? "/../../env/" : "env/");
    chos_put(&t, name);
    ssize_t n = chos_fault(through ? "again" : "link") ? -1 : readlinkat(s->registry, path, to, sizeof to - 1);
    if (n < 0 && through && (errno == EACCES || errno == ENOENT))
        return chos_fail(e, errno == EACCES ? CHOS_DENIED : CHOS_RETIRED, 0, shown);
    if (n < 0)
        return errno == ENOENT ? leads_nowhere(s, name, shown, e)
            : chos_fail(e, errno == EINVAL ? CHOS_CORRUPT : CHOS_SYSTEM, errno, path);
    to[n] = '\0';
    return chos_link_parse(to, link) == 0 ? 0 : chos_fail(e, CHOS_CORRUPT, 0, path);
}

/* Where the name leads at this moment: a generation or the base. */
int chos_resolve(const struct chos_session *s, bool through, struct chos_link *to, struct chos_error *e)
{
    char other[CHOS_NAME_SIZE];
    if (read_link(s, s->name, s->alias, through, to, e))
        return -1;
    if (to->kind != CHOS_TO_NAME)
        return 0;
    memcpy(other, to->name, sizeof other);
    /* Names are removed one by one. A name that leads nowhere for a moment is not an unknown name. */
    if (read_link(s, other, other, false, to, e))
        return e->reason == CHOS_UNKNOWN ? chos_fail(e, CHOS_RETIRED, 0, s->alias) : -1;
    return to->kind == CHOS_TO_NAME ? chos_fail(e, CHOS_CORRUPT, ELOOP, s->alias) : 0;
}

static bool is_target(const struct chos_session *s, const struct chos_link *link)
{
    return link->kind == s->target.kind && strcmp(link->name, s->target.name) == 0;
}

int chos_still_leads_here(const struct chos_session *s, struct chos_error *e)
{
    struct chos_link now = {0};
    if (chos_resolve(s, true, &now, e))
        return -1;
    return is_target(s, &now) ? 0 : chos_fail(e, CHOS_RETIRED, 0, s->alias);
}

bool chos_leads_elsewhere(const struct chos_session *s)
{
    struct chos_link now = {0};
    struct chos_error ignored;
    return s->held && chos_resolve(s, false, &now, &ignored) == 0 && !is_target(s, &now);
}
