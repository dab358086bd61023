/* For hosts whose child only has to become the user (su, runuser, login): we make it the user as soon as it is inside.
 *
 * Until these hosts become the user themselves, they work as root, and inside they could open files of the tree: su --pty and
 * runuser --pty look up the group of terminals and its settings, login writes utmp. So the part of this that matters is done
 * here, on the base, before entering. Later they ask the kernel to become the user, which they already are; the kernel
 * permits that to everybody. Their groups are already correct, because these hosts set them before they open the session.
 *
 * sudo, cron and atd do not belong here: they set groups in their child, which only root may do.
 */
#include "pam_chos.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <utmpx.h>

enum { USUAL_GROUP = 5 };

static bool is_one_of(const char *service, const char *const *names)
{
    while (*names != NULL && strcmp(*names, service) != 0)
        names++;
    return *names != NULL;
}

static const char *const switchers[] = {"su", "su-l", "runuser", "runuser-l", NULL};
static const char *const logins[] = {"login", "remote", NULL};

bool host_only_becomes_user(const char *service)
{
    return is_one_of(service, switchers) || is_one_of(service, logins);
}

/* Terminals of which this process has both ends: how many root owns, how many the caller, and a descriptor of the last one. */
struct served { int roots, callers, fd; ino_t inode; };

static bool is_standard(const struct stat *terminal)
{
    struct stat st;
    for (int fd = 0; fd < 3; fd++) {
        if (fstat(fd, &st) == 0 && st.st_dev == terminal->st_dev && st.st_ino == terminal->st_ino)
            return true;
    }
    return false;
}

/* su has not yet made its terminal the standard input, so one that is there is the caller's. */
static int count_served(int fd, const struct stat *st, const void *context)
{
    struct served *served = *(struct served *const *)context;
    if (is_standard(st) || is_served_terminal(st) != 1 || (served->fd >= 0 && served->inode == st->st_ino))
        return 0;
    if (st->st_uid == 0)
        served->roots++;
    else if (st->st_uid == getuid())
        served->callers++;
    else
        return 0;
    if (st->st_uid == 0 || served->roots == 0) {
        served->fd = fd;
        served->inode = st->st_ino;
    }
    return 0;
}

/* Gives the terminal that su --pty has made to the user. It is root's; older C libraries gave it to the caller. The caller may
 * have left terminals open, too: if it is unknown which one is su's, it stays as it is. */
static void give_terminal(const struct person *who)
{
    struct served served = {.fd = -1}, *context = &served;
    if (any_descriptor(count_served, &context) < 0 || (served.roots > 0 ? served.roots : served.callers) != 1)
        return;
    const struct group *group = getgrnam("tty");
    (void)!fchown(served.fd, who->uid, group != NULL ? group->gr_gid : USUAL_GROUP);
}

static void put(char *to, size_t size, const char *from)
{
    size_t n = strnlen(from, size);   /* these fields need not end in NUL */
    memset(to, 0, size);
    memcpy(to, from, n);
}

/* The utmp record that login would write now. It reuses the entry of its getty, as login does. */
static void record_login(const struct session *session)
{
    char path[PATH_MAX];
    struct utmpx key = {.ut_type = USER_PROCESS}, entry = {0};
    struct timeval now;
    const void *host = NULL;
    if (ttyname_r(0, path, sizeof path) != 0 || strncmp(path, "/dev/", 5) != 0)
        return;
    const char *line = path + 5;
    put(key.ut_line, sizeof key.ut_line, line);
    setutxent();
    const struct utmpx *found = getutxline(&key);
    if (found != NULL)
        entry = *found;
    else
        put(entry.ut_id, sizeof entry.ut_id, strlen(line) > 3 ? line + 3 : line);
    entry.ut_type = USER_PROCESS;
    entry.ut_pid = getpid();
    entry.ut_session = getsid(0);
    put(entry.ut_line, sizeof entry.ut_line, line);
    put(entry.ut_user, sizeof entry.ut_user, session->user);
    if (pam_get_item(session->pamh, PAM_RHOST, &host) == PAM_SUCCESS && host != NULL)
        put(entry.ut_host, sizeof entry.ut_host, host);
    gettimeofday(&now, NULL);
    entry.ut_tv.tv_sec = (int32_t)now.tv_sec;
    entry.ut_tv.tv_usec = (int32_t)now.tv_usec;
    setutxent();
    (void)pututxline(&entry);
    endutxent();
}

/* Called on the base, in the child. False: it is unknown which group the user gets. */
bool host_prepare(struct session *session)
{
    if (is_one_of(session->service, switchers)) {
        if (!su_group(&session->who.gid))
            return false;
        give_terminal(&session->who);
    }
    if (is_one_of(session->service, logins))
        record_login(session);
    return true;
}

/* Cannot be undone: no capability is left either. */
bool become_user(const struct person *who)
{
    return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 && identity_take_ids(who) == 0;
}
