/* pam_chos.so, session: logins and jobs begin in the environment that their user chose.
 *
 * Who chose: $CHOS of the calling process, the user's file, or the name `default`. A name is all that anybody can
 * choose; what it stands for is looked up here, in root's registry. uid 0 is never moved. See pam_chos(8).
 */
#include "pam_chos.h"

#include <pwd.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { MESSAGE = 4096 };

static const char data_name[] = "pam_chos";

struct call {
    pam_handle_t *pamh;
    struct pam_options options;
    struct visit *visit;
};

/* A name, and who chose it. */
struct wish { const char *name, *source; char word[CHOS_NAME_SIZE]; };

/* To the user as it is, to the log in one line. PAM_SILENT does not count: sudo sets it for every command, against
 * chatter; that a command runs in another OS than was asked for is none. */
static void tell(const struct call *call, int priority, char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    (void)pam_error(call->pamh, "%s", text);
    char *to = text;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\n') {
            *to++ = ';';
            p += strspn(p + 1, " ");
            *to++ = ' ';
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
    pam_syslog(call->pamh, priority, "%s", text);
}

/* The session goes on in the base, or does not go on. sudo ignores PAM_SESSION_ERR, so that would be no refusal. */
static int fail(const struct call *call, const char *why)
{
    char text[MESSAGE];
    struct chos_text t = {text, sizeof text, 0};
    chos_put(&t, "chos: ");
    chos_put(&t, why);
    if (t.len > 0 && text[t.len - 1] != '\n')
        chos_put(&t, "\n");
    chos_put(&t, call->options.deny ? "      this session is refused" : "      this session is in the base system");
    tell(call, LOG_WARNING, text);
    return call->options.deny ? PAM_ABORT : PAM_SUCCESS;
}

static void discard(pam_handle_t *pamh, void *data, int status)
{
    struct visit *visit = data;
    (void)pamh;
    (void)status;
    if (visit->begun)
        chos_place_close(&visit->place);
    free(visit);
}

/* Where this is no place to move anybody: silently, because nothing is wrong. */
static const char *reason_to_step_aside(pam_handle_t *pamh)
{
    const void *service = NULL;
    struct stat st;
    if (geteuid() != 0)
        return "the host process is not root";
    /* Its steps have starters of their own; here there are threads. */
    if (pam_get_item(pamh, PAM_SERVICE, &service) == PAM_SUCCESS && service != NULL && strcmp(service, "slurm") == 0)
        return "slurm has its own way in";
    if (stat("/proc/self/task", &st) == 0 && st.st_nlink > 3)
        return "the host process has several threads";
    return NULL;
}

static int find_wish(const struct call *call, const struct person *who, struct wish *wish, struct chos_text *why)
{
    wish->source = "$CHOS";
    wish->name = pam_getenv(call->pamh, "CHOS");
    if (wish->name == NULL || wish->name[0] == '\0')
        wish->name = getenv("CHOS");
    if (wish->name != NULL && wish->name[0] != '\0')
        return 0;
    wish->source = call->options.choice.file;
    wish->name = wish->word;
    int found = dotfile_read(who, &call->options.choice, wish->word, why);
    if (found == 0) {
        wish->source = "";
        wish->name = "default";
    }
    return found < 0 ? -1 : 0;
}

/* Nobody asked for anything, and the administrator offers nothing. */
static bool is_nothing(const struct wish *wish, const struct chos_error *e)
{
    return wish->source[0] == '\0' && (e->reason == CHOS_UNKNOWN || e->reason == CHOS_NO_REGISTRY);
}

static int try_wish(const struct call *call, const struct person *who, const char *name, struct chos_error *e)
{
    if (call->options.debug)
        pam_syslog(call->pamh, LOG_DEBUG, "uid %lu: entering %s", (unsigned long)who->uid, name);
    return visit_begin(call->visit, call->pamh, who, name, call->options.choice.timeout, e);
}

/* What is said about a name that is replaced by the default; said before, because inside nothing is said. */
static int try_default(const struct call *call, const struct person *who, struct chos_error *e)
{
    char text[MESSAGE];
    struct chos_text t = {text, sizeof text, 0};
    chos_put(&t, "chos: ");
    chos_error_text(e, &t);
    chos_put(&t, "      this session tries `default` instead");
    tell(call, LOG_NOTICE, text);
    return try_wish(call, who, "default", e);
}

static int enter(const struct call *call, const struct person *who)
{
    char text[MESSAGE] = "";
    struct chos_text why = {text, sizeof text, 0};
    struct chos_error e;
    struct wish wish;
    if (find_wish(call, who, &wish, &why))
        return fail(call, text);
    if (try_wish(call, who, wish.name, &e) == 0)
        return PAM_SUCCESS;
    if (is_nothing(&wish, &e)) {
        if (call->options.debug)
            pam_syslog(call->pamh, LOG_DEBUG, "uid %lu: there is no default", (unsigned long)who->uid);
        return PAM_SUCCESS;
    }
    if (call->options.choice.fail_to_default && wish.source[0] != '\0' && (e.reason == CHOS_UNKNOWN || e.reason == CHOS_ILLEGAL)
        && try_default(call, who, &e) == 0)
        return PAM_SUCCESS;
    if (e.reason == CHOS_THREADS) {
        pam_syslog(call->pamh, LOG_NOTICE, "stepping aside: the host process has several threads");
        return PAM_SUCCESS;
    }
    chos_error_text(&e, &why);
    int rc = fail(call, text);
    return e.reason == CHOS_STRANDED ? PAM_ABORT : rc;
}

/* One visit for each handle: a stack that names the module twice neither moves nor tells anybody twice. */
static int open_session(struct call *call)
{
    struct person who;
    const char *user = NULL;
    const void *visit = NULL;
    const char *aside = reason_to_step_aside(call->pamh);
    bool again = pam_get_data(call->pamh, data_name, &visit) == PAM_SUCCESS && visit != NULL;
    if (aside != NULL || again) {
        if (call->options.debug)
            pam_syslog(call->pamh, LOG_DEBUG, "stepping aside: %s", aside != NULL ? aside : "called already");
        return PAM_SUCCESS;
    }
    const struct passwd *pw = pam_get_user(call->pamh, &user, NULL) == PAM_SUCCESS && user != NULL
        ? pam_modutil_getpwnam(call->pamh, user) : NULL;
    if (pw != NULL && pw->pw_uid == 0)
        return PAM_SUCCESS;

    call->visit = calloc(1, sizeof *call->visit);
    if (call->visit == NULL || pam_set_data(call->pamh, data_name, call->visit, discard) != PAM_SUCCESS) {
        free(call->visit);
        return fail(call, "out of memory");
    }
    if (pw == NULL)
        return fail(call, "the account is not known");
    if (call->options.wrong != NULL) {
        pam_syslog(call->pamh, LOG_ERR, "unknown option or value: %s", call->options.wrong);
        return fail(call, "pam_chos.so is not configured correctly on this node; tell your administrator");
    }
    if (groups_find(pw, &who))
        return fail(call, "your groups cannot be told");
    int rc = groups_hold(pw, &who) ? fail(call, "your groups cannot be kept") : enter(call, &who);
    if (!call->visit->begun)
        groups_release();
    free(who.groups);
    return rc;
}

EXPORT int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct call call = {.pamh = pamh};
    (void)flags;
    pam_options_parse(argc, argv, &call.options);
    return open_session(&call);
}

/* It fails only where the host is stranded; then nothing more may be done in it. */
EXPORT int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    const void *data = NULL;
    struct visit visit;
    struct chos_error e;
    (void)flags;
    (void)argc;
    (void)argv;
    if (pam_get_data(pamh, data_name, &data) != PAM_SUCCESS || data == NULL)
        return PAM_SUCCESS;
    memcpy(&visit, data, sizeof visit);
    int rc = visit_end(&visit, &e);
    groups_release();
    ((struct visit *)data)->begun = false;
    (void)pam_set_data(pamh, data_name, NULL, NULL);
    if (rc == 0)
        return PAM_SUCCESS;
    pam_syslog(pamh, LOG_ERR, "could not go back to the base: the session's descriptors are gone");
    return PAM_SESSION_ERR;
}
