/* When a session's process enters its environment: in a child that the host makes for it, never in the host itself.
 *
 * What a host does after the session was opened, it does as root: it waits, translates a message, closes other modules,
 * writes a record. Inside, all of these would read the tree's files. So the module only notes here what was chosen, and
 * the process that becomes the user enters: for most hosts their first child, by a handler of fork(2) (pthread_atfork(3));
 * for sshd, whose child asks for groups and credentials before it becomes the user, when pam_setcred(3) is called there.
 *
 * A child that another module makes (pam_exec) is none of the host's: it must not enter, being root's. libpam tells a
 * module's call from an application's by who may read PAM_AUTHTOK, pam_get_item(3).
 */
#include "pam_chos.h"

#include <errno.h>
#include <pthread.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct session next;
static bool armed, registered, by_module;

static void before_fork(void)
{
    const void *unused;
    by_module = armed && pam_get_item(next.pamh, PAM_AUTHTOK, &unused) != PAM_BAD_ITEM;
}

static void release(void)
{
    armed = false;
    free(next.who.groups);
    next.who.groups = NULL;
}

/* One session, one child: what the host makes later (a mail, a closing program) is not the user's. */
static void in_parent(void)
{
    if (armed && !by_module && next.moment == AT_FORK)
        release();
}

/* sudo's child may be the monitor of a terminal, root as well; its own first child is the command then. */
static void in_child(void)
{
    if (!armed || next.moment != AT_FORK)
        return;
    if (by_module) {
        armed = false;
    } else if (!is_sudo(next.service) || !sudo_has_monitor() || getppid() != next.opener) {
        armed = false;
        child_enter(&next);
    }
}

/* Two at once in one process would enter one another's environments. */
int moment_arm(const struct session *session)
{
    if (armed) {
        errno = EBUSY;
        return -1;
    }
    if (!registered && session->moment == AT_FORK && pthread_atfork(before_fork, in_parent, in_child))
        return -1;
    registered = registered || session->moment == AT_FORK;
    next = *session;
    next.opener = getpid();
    armed = true;
    return 0;
}

bool moment_is_armed(const pam_handle_t *pamh)
{
    return armed && next.pamh == pamh;
}

/* Whether no process has entered that should have. What a child of setcred's did is not known in its parent. */
bool moment_disarm(const pam_handle_t *pamh)
{
    bool missed = moment_is_armed(pamh) && next.moment == AT_FORK && next.opener == getpid();
    if (moment_is_armed(pamh))
        release();
    return missed;
}

void moment_setcred(pam_handle_t *pamh)
{
    if (!moment_is_armed(pamh) || next.moment != AT_SETCRED || next.opener == getpid())
        return;
    armed = false;
    child_enter(&next);
}
