/* Entering late: by a process that root started, and that has become its user since.
 *
 * Root inside would open, map or execute what is the tree's. So nobody enters as root: the process keeps its capabilities
 * permitted while it becomes the user, which leaves none of them effective; it raises three, enters, and gives all up. In
 * between it is what the launcher is: the user's process, with three capabilities, which nobody may trace. The kernel judges
 * by the user's identity who may enter. Should the process execute anything before, the kernel takes what was kept.
 */
#include "host.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As root, before it becomes the user. */
int late_keep(struct chos_error *e)
{
    return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) ? chos_fail(e, CHOS_SYSTEM, errno, "keeping capabilities") : 0;
}

/* As the user. Another identity than all of it the user's would not be what the kernel is to judge by. Who called us went
 * to the working directory as somebody else, perhaps; it is left, for the user may not be able to open it. */
int late_enter(struct chos_session *s, const struct person *who, const char *name, struct chos_error *e)
{
    uid_t ruid, euid, suid;
    if (getresuid(&ruid, &euid, &suid) || ruid != who->uid || euid != who->uid || suid != who->uid || who->uid == 0)
        return chos_fail(e, CHOS_SYSTEM, EPERM, "entering as the user");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) || chdir("/"))
        return chos_fail(e, CHOS_SYSTEM, errno, "entering as the user");
    return chos_privs_reduce(e) ? -1 : chos_session_enter(s, name, NULL, NULL, e);
}

/* `s` is NULL where nothing was entered. Nothing is said, set or executed before this. */
int late_drop(const struct chos_session *s, struct chos_error *e)
{
    return chos_privs_drop(s != NULL && s->policy.no_new_privs, e);
}

/* For before. The system call itself: libc's own would hide that a directory is "(unreachable)". Empty where it has no path. */
void late_directory(char path[PATH_MAX])
{
    if (syscall(SYS_getcwd, path, PATH_MAX) < 0 || path[0] != '/')
        path[0] = '\0';
}
