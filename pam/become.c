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

static int give(int fd, const struct stat *st, const void *context)
{
    const struct person *who = context;
    if (is_served_terminal(st) != 1)
        return 0;
    const struct group *group = getgrnam("tty");
    (void)!fchown(fd, who->uid, group != NULL ? group->gr_gid : USUAL_GROUP);
    return 1;
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
        /* Gives the terminal that su --pty has made to the user. If the caller left both sides of another terminal open, with lower
         * descriptor numbers, that one is given instead. The caller gains no right by it, and su's terminal stays root's. */
        (void)any_descriptor(give, &session->who);
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
