/* Enters, in the process that is to become the user. It is still root, so this is done as late as the host allows.
 *
 * Everything is looked up again here, starting with the name; the host's process looked it up only for its messages. After
 * entering, this code opens no file of the environment. The host's own code may do something more before it becomes the user.
 * It does so in the C locale, so that no message is translated with catalogues of the tree, and with the user's rights over
 * files. atd is an exception: it runs as the user daemon at this moment, and takes root's rights again afterwards.
 */
#include "pam_chos.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <security/pam_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

enum { MESSAGE = 4096, FAILED = 125 };

/* atd's child runs as the user daemon at this moment. It has to be root to enter. */
struct place { int cwd; uid_t euid; char path[PATH_MAX]; };

static int begin(struct place *here, struct chos_error *e)
{
    here->euid = geteuid();
    if (here->euid != 0 && seteuid(0))
        return chos_fail(e, CHOS_SYSTEM, errno, "becoming root");
    here->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (syscall(SYS_getcwd, here->path, sizeof here->path) < 0)   /* the raw system call, because libc hides "(unreachable)" */
        here->path[0] = '\0';
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0 || uselocale(plain) == (locale_t)0)
        return chos_fail(e, CHOS_SYSTEM, errno, "the C locale");
    return 0;
}

/* Inside, the user means the same path. It is looked up with the user's rights, because we are root and must not open a
 * directory that is closed to the user. If it cannot be opened, the working directory is `/`. */
static int keep_directory(const struct place *here, const struct session *session, bool moved)
{
    if (!moved && here->cwd >= 0)
        return fchdir(here->cwd);
    if (here->path[0] != '/' || here->path[1] == '\0')
        return 0;
    return change_directory_as(&session->who, here->path) ? 0 : -1;
}

/* The record is opened before entering, because root must open nothing inside. Settings that became unreadable since the host
 * read them do not refuse the session. False: by now the site wants this service to stay on the base. */
static bool prepare_record(struct chos_record *record, const char *service)
{
    static struct chos_jobs jobs;
    struct chos_error ignored;
    *record = (struct chos_record){-1, -1};
    if (chos_jobs_read(&jobs, &ignored))
        return true;
    chos_record_open(record, &jobs, "");
    return !chos_jobs_stays(&jobs, service);
}

enum { STAYS = 1 };

static int enter(struct place *here, const struct session *session, struct chos_error *e)
{
    static struct chos_session s;
    struct chos_record record;
    if (begin(here, e))
        return -1;
    if (!groups_hold(session->user))
        return chos_fail(e, CHOS_SYSTEM, 0, "your groups, as the base says them");
    if (!prepare_record(&record, session->service)) {
        chos_record_close(&record);
        return STAYS;
    }
    if (chos_session_enter(&s, session->alias, permit_person, (void *)&session->who, e)) {
        chos_record_close(&record);
        return -1;
    }
    if (keep_directory(here, session, s.moved) || entry_apply(&s.policy, e)) {
        chos_record_close(&record);
        return chos_fail(e, CHOS_STRANDED, errno, "what its policy asks for");
    }
    chos_record_write(&record, &(struct chos_entry){session->who.uid, session->user, session->alias, s.target.name,
                                                    session->service, NULL});
    return 0;
}

static void forget(const struct session *session)
{
    (void)pam_putenv(session->pamh, "CHOS");
    (void)pam_putenv(session->pamh, "CHOS_GENERATION");
    (void)unsetenv("CHOS");
    (void)unsetenv("CHOS_GENERATION");
}

/* No caller can receive an error here: the process runs the user's command next, or ends. If it cannot return to the base, it
 * ends. */
static void fail(const struct session *session, const struct chos_error *e)
{
    char text[MESSAGE] = "";
    struct chos_text t = {text, sizeof text, 0};
    bool ends = session->deny || e->reason == CHOS_STRANDED;
    chos_put(&t, "chos: ");
    chos_error_text(e, &t);
    chos_put(&t, ends ? "      this session is refused\n" : "      this session is in the base system\n");
    ssize_t n = write(2, text, t.len);
    (void)n;   /* if it fails, nobody could be told */
    if (e->reason != CHOS_STRANDED)
        pam_syslog(session->pamh, LOG_WARNING, "%s: not entered: %s", session->service, e->message);
    if (ends)
        _exit(FAILED);
    forget(session);
}

/* Takes the user's rights over files, until the service sets other ids. */
static bool take_rights(const struct person *who)
{
    setfsgid(who->gid);
    setfsuid(who->uid);
    return setfsuid((uid_t)-1) == (int)who->uid && setfsgid((gid_t)-1) == (int)who->gid;
}

void child_stay(struct session *session, const char *why)
{
    struct chos_error e;
    (void)chos_fail(&e, CHOS_SYSTEM, errno, why);
    fail(session, &e);
}

void child_enter(struct session *session)
{
    struct place here = {.cwd = -1};
    struct chos_error e;
    int before = errno;
    int rc = host_prepare(session) ? enter(&here, session, &e)
        : chos_fail(&e, CHOS_SYSTEM, 0, "telling the user's group from the command line");
    if (rc < 0)
        fail(session, &e);
    else if (rc == STAYS)
        forget(session);
    if (rc != 0 && here.cwd < 0 && keep_directory(&here, session, true))
        _exit(FAILED);
    if (here.cwd >= 0)
        close(here.cwd);
    bool whole = here.euid == 0 || seteuid(here.euid) == 0;
    if (rc == 0 && host_only_becomes_user(session->service))
        whole = whole && become_user(&session->who);
    else if (rc == 0 && here.euid == 0)   /* not for atd: daemon has none of root's rights over files, and atd changes its ids itself */
        whole = whole && take_rights(&session->who);
    if (!whole)
        _exit(FAILED);
    errno = before;
}
