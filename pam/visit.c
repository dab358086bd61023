/* A session in an environment: entering it, what its policy says, and the way back.
 *
 * Between entering and leaving nothing of the environment is opened by root: no NSS, no log, no locale.
 */
#include "pam_chos.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct asking { const struct person *who; int timeout; };

/* In the child; the generation is the working directory. */
static void open_policy(const void *context, struct answer *answer)
{
    (void)context;
    int fd = chos_openat2("policy", O_RDONLY, RESOLVE_STRICT);
    answer->err = fd < 0 ? errno : 0;
}

/* Root may enter every directory, so root's own look says nothing. The user's identity tries what the launcher would
 * have tried, and the kernel answers, from mode, group and ACL: no code here compares groups. The child that asks runs
 * only our code and is out of the user's reach (as_user.c), so its yes is the kernel's; silence is a no. */
static int may_enter(const struct chos_session *s, void *context, struct chos_error *e)
{
    const struct asking *asking = context;
    struct answer answer;
    int err = as_user(asking->who, open_policy, NULL, asking->timeout, &answer);
    if (answer.fd >= 0)
        close(answer.fd);
    if (err == 0 && answer.err == 0)
        return 0;
    if (err == 0 && answer.err == ENOENT)
        return chos_fail(e, CHOS_RETIRED, 0, s->alias);
    return chos_fail(e, CHOS_DENIED, err != 0 ? err : answer.err == EACCES ? 0 : answer.err, s->alias);
}

/* In the child, inside. To open a directory takes no right over the directory itself; to go there does. */
static void open_directory(const void *path, struct answer *answer)
{
    answer->fd = chdir(path) ? -1 : open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    answer->err = answer->fd < 0 ? errno : 0;
}

/* The same path is what the user means inside. It is looked up with the user's rights, so that nobody gets into a
 * directory that is closed to him by way of our being root; where it cannot be had, `/` is where we are. */
static int keep_directory(const char *path, const struct asking *asking)
{
    struct answer answer;
    struct stat st;
    if (path[0] != '/' || path[1] == '\0')
        return 0;
    int err = as_user(asking->who, open_directory, path, asking->timeout, &answer);
    int rc = 0;
    if (answer.fd >= 0) {
        if (err == 0 && fstat(answer.fd, &st) == 0 && S_ISDIR(st.st_mode))
            rc = fchdir(answer.fd);
        close(answer.fd);
    }
    return rc;
}

static int put_variable(pam_handle_t *pamh, const char *name, const char *value)
{
    char text[CHOS_FILE_SIZE];
    struct chos_text t = {text, sizeof text, 0};
    chos_put(&t, name);
    chos_put(&t, value);
    return pam_putenv(pamh, text) == PAM_SUCCESS ? 0 : -1;
}

/* What the launcher does before it executes. no_new_privs comes last: there is no way back from it. */
static int apply(struct visit *v, pam_handle_t *pamh, const struct chos_session *s, struct chos_error *e)
{
    const struct chos_policy *policy = &s->policy;
    if (entry_personality(policy, &v->personality, e))
        return -1;
    bool put = put_variable(pamh, "CHOS=", s->alias) == 0
        && (s->target.kind == CHOS_TO_BASE || put_variable(pamh, "CHOS_GENERATION=", s->target.name) == 0);
    for (unsigned i = 0; put && i < policy->setenvs; i++)
        put = pam_putenv(pamh, policy->setenv[i]) == PAM_SUCCESS;
    if (!put)
        return chos_fail(e, CHOS_SYSTEM, ENOMEM, "pam_putenv");
    if (policy->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return chos_fail(e, CHOS_SYSTEM, errno, "no_new_privs");
    return 0;
}

/* Opened before, because inside root opens nothing. What is wrong with the settings keeps nobody out. */
static void prepare_record(struct chos_record *record)
{
    struct chos_jobs jobs;
    struct chos_error ignored;
    *record = (struct chos_record){-1, -1};
    if (chos_jobs_read(&jobs, &ignored) == 0)
        chos_record_open(record, &jobs, "");
}

static void write_record(struct chos_record *record, pam_handle_t *pamh, const struct chos_session *s, uid_t uid)
{
    const void *user = NULL, *service = NULL;
    (void)pam_get_item(pamh, PAM_USER, &user);
    (void)pam_get_item(pamh, PAM_SERVICE, &service);
    chos_record_write(record, &(struct chos_entry){uid, user, s->alias, s->target.name, service, NULL});
}

int visit_begin(struct visit *v, pam_handle_t *pamh, const struct person *who, const char *alias, int timeout,
                struct chos_error *e)
{
    struct chos_session s;
    struct chos_error failed;
    struct asking asking = {who, timeout};
    struct chos_record record;
    struct stat st;
    char cwd[PATH_MAX];
    if (syscall(SYS_getcwd, cwd, sizeof cwd) < 0)   /* the system call: it shows what is unreachable */
        cwd[0] = '\0';
    *v = (struct visit){.personality = -1};
    if (chos_place_open(&v->place, e))
        return -1;
    prepare_record(&record);
    if (fstat(v->place.ns, &st) || chos_session_enter(&s, alias, may_enter, &asking, e)) {
        chos_record_close(&record);
        chos_place_close(&v->place);
        return -1;
    }
    v->begun = true;
    v->moved = s.moved;
    v->ns = st.st_ino;
    if ((s.moved ? keep_directory(cwd, &asking) : fchdir(v->place.cwd)) != 0)
        chos_fail(e, CHOS_SYSTEM, errno, "the working directory");
    else if (apply(v, pamh, &s, e) == 0) {
        write_record(&record, pamh, &s, who->uid);
        return 0;
    }
    chos_record_close(&record);
    if (visit_end(v, &failed))
        *e = failed;
    return -1;
}

/* A host may open the next session in the same process, and what it still has to do for this one belongs to the base. */
int visit_end(struct visit *v, struct chos_error *e)
{
    struct stat st;
    int rc = 0;
    if (!v->begun)
        return 0;
    v->begun = false;
    if (v->personality >= 0)
        (void)personality((unsigned long)v->personality);
    if (fstat(v->place.ns, &st) || st.st_ino != v->ns || !chos_is_mount_ns(v->place.ns)) {
        rc = chos_fail(e, CHOS_STRANDED, 0, "the way back");   /* the host closed our descriptors: they are not ours now */
        return rc;
    }
    rc = chos_place_return(&v->place, v->moved, e);
    chos_place_close(&v->place);
    return rc;
}
