/* Entering late: by a process that root started and that has become its user since.
 *
 * A process that entered as root could open, map or execute files of the tree as root. So it first becomes the user. Its
 * capabilities stay permitted meanwhile, but none is effective. Then it raises three, enters, and gives all of them up. In
 * between it is in the same position as the launcher: a process of the user's with three capabilities, which nobody may trace.
 * The kernel decides by the user's identity whether it may enter. If the process executes a program before, the kernel
 * takes the capabilities away.
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

/* Call this as the user, with all ids and groups set: the kernel decides by them whether the user may enter. The working
 * directory is left first. The caller may have changed to it with other rights, and the user may not be able to open it. */
int late_enter(struct chos_session *s, const struct person *who, const char *name, struct chos_error *e)
{
    uid_t ruid, euid, suid;
    if (getresuid(&ruid, &euid, &suid) || ruid != who->uid || euid != who->uid || suid != who->uid || who->uid == 0)
        return chos_fail(e, CHOS_SYSTEM, EPERM, "entering as the user");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) || chdir("/"))
        return chos_fail(e, CHOS_SYSTEM, errno, "entering as the user");
    return chos_privs_reduce(e) ? -1 : chos_session_enter(s, name, NULL, NULL, e);
}

/* `s` is NULL if nothing was entered. Call this before printing, setting or executing anything. */
int late_drop(const struct chos_session *s, struct chos_error *e)
{
    return chos_privs_drop(s != NULL && s->policy.no_new_privs, e);
}

/* The working directory before entering; empty if it has no path. The raw system call, because libc's getcwd hides that a
 * directory is "(unreachable)". */
void late_directory(char path[PATH_MAX])
{
    if (syscall(SYS_getcwd, path, PATH_MAX) < 0 || path[0] != '/')
        path[0] = '\0';
}
