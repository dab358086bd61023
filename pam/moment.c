/* When a session's process enters its environment: in a child that the host makes for it, never in the host itself.
 *
 * After a session was opened, the host continues as root: it waits, translates a message, closes other modules, writes a
 * record. Inside, each of these would read files of the tree. So in the host this module only notes what was chosen. The process
 * that becomes the user enters. For most hosts this is their first child, in a handler of fork(2) (pthread_atfork(3)). For
 * sshd and Debian's cron it is their child too, but later, when it calls pam_setcred(3): before that it asks for groups and
 * credentials.
 *
 * A child that another module makes (pam_exec) is not the host's. It stays root and must not enter. To distinguish the two:
 * only modules may read PAM_AUTHTOK, see pam_get_item(3).
 */
#include "pam_chos.h"

#include <errno.h>
#include <pthread.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct session next;
static bool armed, registered, by_module, monitor_was_made;
static volatile unsigned char *reached;   /* shared with the child: whether it reached the place where it enters */

/* A second handle whose session was refused. Its modules may fork too. With a third one (`crowded`) it is unknown which process
 * is the host's. */
static const pam_handle_t *other;
static bool crowded;

static bool is_in_module(const pam_handle_t *pamh)
{
    const void *unused;
    return pamh != NULL && pam_get_item(pamh, PAM_AUTHTOK, &unused) != PAM_BAD_ITEM;
}

static void before_fork(void)
{
    by_module = armed && (is_in_module(next.pamh) || is_in_module(other));
}

/* One session has one child. What the host forks later (to send mail, to clean up) is not the user's process. */
static void in_parent(void)
{
    if (!by_module && next.moment == AT_FORK && !(crowded && next.deny))
        armed = false;
}

/* For onerr=deny this ends every process that may be the session's. Otherwise the first one says that it is on the base. */
static void refuse_now(void)
{
    armed = false;
    *reached = 1;
    errno = 0;
    child_stay(&next, "telling the session's process from those of other modules, with more than two PAM handles in use");
}

static void enter_now(void)
{
    armed = false;
    *reached = 1;
    child_enter(&next);
}

/* sudo's child may be the monitor of a terminal, which is root too. Then the monitor's first child is the command. The parent's
 * pid does not show this, because sudo's caller may have killed sudo; so we remember that there was a monitor. */
static void in_child(void)
{
    if (!armed || next.moment != AT_FORK)
        return;
    if (by_module) {
        armed = false;
        return;
    }
    if (crowded) {
        refuse_now();
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

/* With two sessions at once in one process, each might enter the other's environment. With more than two handles nothing is
 * known about the modules of the third; then no process enters, and the session's process says so. */
bool moment_is_taken(const pam_handle_t *pamh)
{
    if (!armed || next.pamh == pamh)
        return false;
    if (other != NULL && other != pamh)
        crowded = true;
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
    session->who.groups = NULL;   /* `next` owns the list from now on */
    monitor_was_made = crowded = false;
    armed = true;
    return 0;
}

bool moment_is_armed(const pam_handle_t *pamh)
{
    return armed && next.pamh == pamh;
}

/* The other handle ends, or we cannot notice its end. */
void moment_forget(const pam_handle_t *pamh)
{
    if (other == pamh)
        other = NULL;
}

/* The session or its handle ends. False: no process ever reached the place where it would have entered. */
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

/* True also after its process was made; but only in the process that opened the session. */
static bool is_of(const pam_handle_t *pamh)
{
    return reached != NULL && next.pamh == pamh && next.opener == getpid();
}

/* The same, and its groups are released. A child that has entered keeps them, because its host may ask for them afterwards. */
bool moment_close(const pam_handle_t *pamh)
{
    bool ours = is_of(pamh);
    bool came = moment_end(pamh);
    if (ours)
        groups_release();
    return came;
}

void moment_setcred(pam_handle_t *pamh)
{
    if (moment_is_armed(pamh) && next.moment == AT_SETCRED && next.opener != getpid())
        crowded ? refuse_now() : enter_now();
}
