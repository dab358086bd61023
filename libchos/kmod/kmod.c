/* The backend kmod: the module's files below /proc/chos (docs/kmod.md). It moves our root directory, not our mounts.
 *
 * Entering needs no privilege: the module has the list of allowed trees, and we have checked that the caller may enter this
 * one. Before writing we check that the file really is the module's.
 */
#include "kmod/kmod.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { CHOSFS = 0x63686f73 };

static const char setchos[] = "/proc/chos/setchos", resetchos[] = "/proc/chos/resetchos", own_link[] = "/proc/chos/link";

static int command(const char *file, const char *text)
{
    struct statfs fs;
    int fd = chos_fault("kmod") ? -1 : open(file, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fstatfs(fd, &fs);
    if (rc == 0 && fs.f_type != CHOSFS) {
        errno = ENOENT;
        rc = -1;
    }
    size_t len = strlen(text);
    if (rc == 0)
        rc = write(fd, text, len) == (ssize_t)len ? 0 : -1;
    int err = errno;
    if (fd >= 0)
        close(fd);
    errno = err;
    return rc;
}

/* Whether the module has given this process another root than the real one. */
bool chos_kmod_inside(void)
{
    struct statfs fs;
    char first[2];
    return statfs(setchos, &fs) == 0 && fs.f_type == CHOSFS && readlink(own_link, first, sizeof first) > 1;
}

/* The tree that we are in; empty if it is not one of the module's. */
void chos_kmod_tree(char tree[CHOS_TREE_SIZE])
{
    ssize_t n = chos_kmod_inside() ? readlink(own_link, tree, CHOS_TREE_SIZE) : 0;
    tree[n > 0 && n < CHOS_TREE_SIZE ? n : 0] = '\0';
}

int chos_kmod_again(const char *tree, struct chos_error *e)
{
    return command(setchos, tree) ? chos_fail(e, CHOS_STRANDED, errno, tree) : 0;
}

int chos_kmod_leave(struct chos_error *e)
{
    if (command(setchos, "/") || command(resetchos, "1"))
        return chos_fail(e, CHOS_SYSTEM, errno, setchos);
    return 0;
}

/* Opens something that is visible only from the real root directory, and comes back. If it cannot, the process must end. */
int chos_kmod_open_outside(int (*open_it)(const char *), const char *path, struct chos_error *e)
{
    char tree[CHOS_TREE_SIZE];
    chos_kmod_tree(tree);
    if (chos_kmod_leave(e))
        return -1;
    int fd = open_it(path), err = errno;
    if (chos_kmod_again(tree, e)) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd >= 0 ? fd : chos_fail(e, CHOS_SYSTEM, err, path);
}

/* Reads back from the module which tree we are in. Not inlined, because its large buffers would move the stack of every other
 * entry to new pages. */
__attribute__((noinline)) int chos_kmod_enter(struct chos_session *s, struct chos_error *e)
{
    char tree[CHOS_FILE_SIZE + 1], seen[CHOS_FILE_SIZE];
    long n = chos_tree_read(s, tree, e);
    if (n < 0)
        return -1;
    if (n < 2 || tree[0] != '/' || tree[n - 1] != '\n' || memchr(tree, '\0', (size_t)n) != NULL)
        return chos_fail(e, CHOS_CORRUPT, 0, s->target.name);
    tree[n - 1] = '\0';
    if (command(setchos, tree))
        return errno == ENOENT ? chos_fail(e, CHOS_NO_MODULE, 0, tree) : chos_fail(e, CHOS_SYSTEM, errno, setchos);
    s->moved = true;
    ssize_t len = readlink(own_link, seen, sizeof seen);
    bool there = len == n - 1 && memcmp(seen, tree, (size_t)len) == 0;
    return there && !chos_root_is(&s->base.root) && chdir("/") == 0 ? 0 : chos_fail(e, CHOS_WRONG_ROOT, 0, s->alias);
}
