/* The working directory is remembered by its path, because users mean the same path on the other side.
 *
 * It is entered after privilege is dropped, so that another user's private directory cannot be reached.
 */
#include "launcher.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char few[256], *cwd = few;   /* long enough for nearly every path */

/* The raw system call, because libc's getcwd hides that a directory is "(unreachable)". */
void workdir_remember(void)
{
    long n = syscall(SYS_getcwd, few, sizeof few);
    if (n < 0 && errno == ERANGE)
        n = syscall(SYS_getcwd, cwd = room(PATH_MAX), PATH_MAX);
    if (n < 0)
        cwd[0] = '\0';
}

/* Inside, /local is the base: a process in /local that leaves the environment stays in the same directory. */
const char *workdir_map(const char *path, bool leaving_environment)
{
    size_t len = strlen("/local");
    if (!leaving_environment || strncmp(path, "/local", len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return path;
    return path[len] == '\0' ? "/" : path + len;
}

void workdir_restore(const struct chos_session *s)
{
    const char *path = workdir_map(cwd, s->target.kind == CHOS_TO_BASE && s->from_environment);
    errno = ENOENT;
    if (path[0] == '/' && !chos_fault("chdir") && chdir(path) == 0)
        return;
    int err = errno;
    tell("chos: the working directory ");
    tell_safe(path[0] == '/' ? path : "(deleted or unreachable)");
    tell(" cannot be kept (");
    tell(strerror(err));
    tell("); going to /\n");
    tell_end(2);
    struct chos_error e;
    if (chdir("/") != 0) {
        chos_fail(&e, CHOS_SYSTEM, errno, "/");
        die(&e);
    }
}
