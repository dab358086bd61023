/* A generation in the registry: whether it can be trusted and entered, and its files. */
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GENERATION_PATH = sizeof "gen/" + CHOS_NAME_SIZE + sizeof "/policy" };

/* The path below the registry of a file in the generation. */
static void put_generation(struct chos_text *t, const struct chos_session *s, const char *file)
{
    chos_put(t, "gen/");
    chos_put(t, s->target.name);
    chos_put(t, file);
}

/* Whether a generation can be trusted, and entered by this user. The dot at the end of the path makes the kernel check the right to
 * enter the directory. A name is enough, and no descriptor is needed: only root could replace it, and a registry never uses a name again. A link
 * that root puts in its place is followed here, and refused when a file of the generation is opened. */
int chos_generation_check(const struct chos_session *s, struct chos_error *e)
{
    char path[GENERATION_PATH];
    struct chos_text t = {path, sizeof path, 0};
    struct stat st;
    put_generation(&t, s, "/.");
    if (chos_fault("generation") || fstatat(s->registry, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == EACCES ? chos_fail(e, CHOS_DENIED, 0, s->alias)
            : chos_fail(e, errno == ENOENT ? CHOS_RETIRED : CHOS_SYSTEM, errno, path);
    return chos_is_roots(&st) ? 0 : chos_fail(e, CHOS_UNSAFE, 0, path);
}

int chos_find(struct chos_session *s, struct chos_error *e)
{
    memset(&s->policy, 0, sizeof s->policy);
    if (chos_resolve(s, false, &s->target, e))
        return -1;
    return s->target.kind == CHOS_TO_BASE ? 0 : chos_generation_check(s, e);
}

/* -1 and errno. */
int chos_generation_open(const struct chos_session *s, const char *file)
{
    char path[GENERATION_PATH];
    struct chos_text t = {path, sizeof path, 0};
    put_generation(&t, s, file);
    return chos_openat2_at(s->registry, path, O_RDONLY, RESOLVE_STRICT);
}

/* The path of its tree, and a newline. */
long chos_tree_read(const struct chos_session *s, char text[CHOS_FILE_SIZE], struct chos_error *e)
{
    char path[GENERATION_PATH];
    struct chos_text t = {path, sizeof path, 0};
    put_generation(&t, s, "/tree");
    long n = chos_fault("tree") ? chos_fail(e, CHOS_SYSTEM, errno, path) : chos_file_read(s, path, text, CHOS_FILE_SIZE, e);
    /* Closed, or retired, since it was found. */
    if (n < 0 && (e->err == EACCES || e->err == ENOENT))
        return chos_fail(e, e->err == EACCES ? CHOS_DENIED : CHOS_RETIRED, 0, s->alias);
    return n;
}

/* Nearly every policy fits into `text`, which costs nothing. Room for larger ones is made when it is needed. */
static long read_policy(struct chos_session *s, const char *path, char **text, struct chos_error *e)
{
    int fd = chos_fault("policy") ? chos_fail(e, CHOS_SYSTEM, errno, path) : chos_file_open(s, path, e);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, *text = s->text, sizeof s->text);
    if (n == sizeof s->text) {
        if (s->more == NULL) {
            void *pages = mmap(NULL, CHOS_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            s->more = pages != MAP_FAILED ? pages : NULL;
        }
        n = s->more == NULL ? -1 : pread(fd, *text = s->more, CHOS_FILE_SIZE, 0);
    }
    int err = errno;
    close(fd);
    return n >= 0 ? n : chos_fail(e, CHOS_SYSTEM, err, path);
}

/* Does not depend on where the process is, so that it can also be called inside. */
int chos_policy_read(struct chos_session *s, struct chos_error *e)
{
    char path[GENERATION_PATH], *text;
    struct chos_text t = {path, sizeof path, 0};
    const struct chos_link *to = &s->target;
    put_generation(&t, s, "/policy");
    long len = read_policy(s, path, &text, e);
    if (len < 0)
        return e->err == EACCES ? chos_fail(e, CHOS_DENIED, 0, s->alias)
            : e->err == ENOMEM ? -1   /* a limit of the caller's, and no damage */
            : chos_fail(e, e->err == ENOENT ? CHOS_RETIRED : CHOS_CORRUPT, e->err, path);
    bool whole = chos_policy_parse(text, (size_t)len, &s->policy) == 0 && s->policy.generation == to->number
        && strlen(s->policy.name) == to->stem && memcmp(s->policy.name, to->name, to->stem) == 0;
    return whole ? 0 : chos_fail(e, CHOS_CORRUPT, 0, path);
}
