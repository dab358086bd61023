/* When a session's process enters its environment: in a child that the host makes for it, never in the host itself.
 *
 * What a host does after the session was opened, it does as root: it waits, translates a message, closes other modules,
 * writes a record. Inside, all of these would read the tree's files. So the module only notes here what was chosen, and
 * the process that becomes the user enters: for most hosts their first child, by a handler of fork(2) (pthread_atfork(3));
 * for sshd and Debian's cron, whose child asks for groups and credentials before it becomes the user, when pam_setcred(3) is
 * called there.
 *
 * A child that another module makes (pam_exec) is none of the host's: it must not enter, being root's. libpam tells a
 * module's call from an application's by who may read PAM_AUTHTOK, pam_get_item(3).
 */
#include "pam_chos.h"

#include <pthread.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct session next;
static bool armed, registered, by_module, monitor_was_made;
static volatile unsigned char *reached;   /* shared with the child: whether it came to where it enters */

/* Of one that was refused beside ours, the modules may fork as well. */
static const pam_handle_t *other;

static bool is_in_module(const pam_handle_t *pamh)
{
    const void *unused;
    return pamh != NULL && pam_get_item(pamh, PAM_AUTHTOK, &unused) != PAM_BAD_ITEM;
}

static void before_fork(void)
{
    by_module = armed && (is_in_module(next.pamh) || is_in_module(other));
}

/* One session, one child: what the host makes later (a mail, a closing program) is not the user's. */
static void in_parent(void)
{
    if (!by_module && next.moment == AT_FORK)
        armed = false;
}

static void enter_now(void)
{
    armed = false;
    *reached = 1;
    child_enter(&next);
}

/* sudo's child may be the monitor of a terminal, root as well; its own first child is the command then. Who the parent is
 * says nothing, because sudo's caller may kill sudo: so that it was there is remembered. */
static void in_child(void)
{
    if (!armed || next.moment != AT_FORK)
        return;
    if (by_module) {
        armed = false;
        return;
    }
    int monitor = is_sudo(next.service) && !monitor_was_made ? sudo_has_monitor(&next.who) : 0;
    monitor_was_made = true;
    if (monitor < 0) {
        armed = false;
        child_stay(&next, "telling sudo's monitor from the command: /proc/self/fd");
    } else if (monitor == 0) {
        enter_now();
    }
}

/* Two at once in one process would enter one another's environments. Of more than two handles nothing is known of the
 * third one's modules: then nobody enters. */
bool moment_is_taken(const pam_handle_t *pamh)
{
    if (!armed || next.pamh == pamh)
        return false;
    if (other != NULL && other != pamh)
        armed = false;
    other = pamh;
    return true;
}

int moment_arm(struct session *session)
{
    moment_end(next.pamh);
    void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -1;
    reached = page;
    if (!registered && pthread_atfork(before_fork, in_parent, in_child))
        return -1;
    registered = true;
    next = *session;
    next.opener = getpid();
    session->who.groups = NULL;   /* ours from now on */
    monitor_was_made = false;
    armed = true;
    return 0;
}

bool moment_is_armed(const pam_handle_t *pamh)
{
    return armed && next.pamh == pamh;
}

/* It ends, or could not be watched until then. */
void moment_forget(const pam_handle_t *pamh)
{
    if (other == pamh)
        other = NULL;
}

/* Also when its process has been made already. */
bool moment_is_of(const pam_handle_t *pamh)
{
    return reached != NULL && next.pamh == pamh;
}

/* The session is over, or its handle is. False: nobody came to where the session's process enters. */
bool moment_end(const pam_handle_t *pamh)
{
    if (reached == NULL || next.pamh != pamh)
        return true;
    bool came = *reached != 0;
    (void)munmap((void *)reached, 1);
    reached = NULL;
    armed = false;
    free(next.who.groups);
    next.who.groups = NULL;
    return came;
}

void moment_setcred(pam_handle_t *pamh)
{
    if (moment_is_armed(pamh) && next.moment == AT_SETCRED && next.opener != getpid())
        enter_now();
}
