/* pam_chos.so: logins and jobs begin in the environment that their user chose.
 *
 * The name comes from $CHOS of the calling process, from the user's file, or is `default`. Users can only choose a name;
 * what it stands for is looked up here, in root's registry. uid 0 is never moved. The host never moves: this file finds out what
 * was chosen and whether it is available. Which process enters, and when, is decided in moment.c. See pam_chos(8).
 */
#include "pam_chos.h"

#include <errno.h>
#include <pwd.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static const char session_name[] = "pam_chos", other_name[] = "pam_chos_other";

/* Prints to the user as it is, and to the log in one line. PAM_SILENT is ignored: sudo sets it for every command, but a user
 * must learn that a command runs in another OS than was asked for. */
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

/* Continues on the base, or refuses the session. Not with PAM_SESSION_ERR, because sudo ignores it. */
static int fail(const struct call *call, const char *why)
{
    char text[PAM_MESSAGE];
    struct chos_text t = {text, sizeof text, 0};
    chos_put(&t, "chos: ");
    chos_put(&t, why);
    if (t.len > 0 && text[t.len - 1] != '\n')
        chos_put(&t, "\n");
    chos_put(&t, call->options.deny ? "      this session is refused" : "      this session is in the base system");
    tell(call, LOG_WARNING, text);
    return call->options.deny ? PAM_ABORT : PAM_SUCCESS;
}

/* Called when the handle ends, or when another session begins. */
static void discard(pam_handle_t *pamh, void *data, int status)
{
    (void)data;
    (void)status;
    (void)moment_close(pamh);
}

static void forget_other(pam_handle_t *pamh, void *data, int status)
{
    (void)data;
    (void)status;
    moment_forget(pamh);
}

/* Whether a session of another handle waits for its process. The modules of this handle may fork too, so we remember it. */
static bool note_other(pam_handle_t *pamh)
{
    if (!moment_is_taken(pamh))
        return false;
    const void *noted;
    /* Once: setting it again would have libpam forget it by the old entry's end. */
    if (pam_get_data(pamh, other_name, &noted) != PAM_SUCCESS
        && pam_set_data(pamh, other_name, (void *)other_name, forget_other) != PAM_SUCCESS)
        moment_forget(pamh);
    return true;
}

static void nothing(pam_handle_t *pamh, void *data, int status)
{
    (void)pamh;
    (void)data;
    (void)status;
}

static void copy(char to[CHOS_NAME_SIZE], const char *from)
{
    struct chos_text t = {to, CHOS_NAME_SIZE, 0};
    to[0] = '\0';
    chos_put(&t, from != NULL ? from : "");
}

static int find_wish(const struct call *call, struct wish *wish, struct chos_text *why)
{
    if (wish_take(wish, BY_VARIABLE, pam_getenv(call->pamh, "CHOS")) || wish_take(wish, BY_VARIABLE, getenv("CHOS")))
        return 0;
    return wish_take_file(wish, &call->session.who, &call->options.choice, why);
}

static int put_variable(pam_handle_t *pamh, const char *name, const char *value)
{
    char text[CHOS_FILE_SIZE];
    struct chos_text t = {text, sizeof text, 0};
    chos_put(&t, name);
    chos_put(&t, value);
    return pam_putenv(pamh, text) == PAM_SUCCESS ? 0 : -1;
}

static int put_variables(pam_handle_t *pamh, const struct chos_session *s, struct chos_error *e)
{
    bool put = put_variable(pamh, "CHOS=", s->alias) == 0
        && (s->target.kind == CHOS_TO_BASE || put_variable(pamh, "CHOS_GENERATION=", s->target.name) == 0);
    for (unsigned i = 0; put && i < s->policy.setenvs; i++)
        put = pam_putenv(pamh, s->policy.setenv[i]) == PAM_SUCCESS;
    return put ? 0 : chos_fail(e, CHOS_SYSTEM, ENOMEM, "pam_putenv");
}

/* Finds every problem that can be found before the child exists, because only now can the user get a message. */
static int try_wish(struct call *call, const char *name, struct chos_error *e)
{
    static struct chos_session s;
    struct session *session = &call->session;
    if (call->options.debug)
        pam_syslog(call->pamh, LOG_DEBUG, "uid %lu: looking at %s", (unsigned long)session->who.uid,
                   chos_name_is_plain(name) ? name : "a name that is none");
    if (chos_session_look(&s, name, permit_person, &session->who, e))
        return -1;
    call->hindrance = find_moment(call);
    if (call->hindrance != NULL)
        return s.target.kind == CHOS_TO_BASE ? 0 : -1;
    copy(session->alias, name);
    if (session->moment != BY_HOST && moment_arm(session))
        return chos_fail(e, CHOS_SYSTEM, errno, "waiting for the session's process");
    return put_variables(call->pamh, &s, e);
}

/* Tries `default`, and prints why the user's choice was replaced by it. */
static int try_default(struct call *call, struct chos_error *e)
{
    char text[PAM_MESSAGE];
    struct chos_text t = {text, sizeof text, 0};
    chos_put(&t, "chos: ");
    chos_error_text(e, &t);
    chos_put(&t, "      this session tries `default` instead");
    tell(call, LOG_NOTICE, text);
    return try_wish(call, "default", e);
}

static int choose(struct call *call)
{
    char text[PAM_MESSAGE] = "";
    struct chos_text why = {text, sizeof text, 0};
    struct chos_error e;
    struct wish wish;
    if (find_wish(call, &wish, &why))
        return fail(call, text);
    if (try_wish(call, wish.name, &e) == 0)
        return PAM_SUCCESS;
    if (call->hindrance != NULL)
        return fail(call, call->hindrance);
    if (wish_is_nothing(&wish, &e)) {
        if (call->options.debug)
            pam_syslog(call->pamh, LOG_DEBUG, "uid %lu: there is no default", (unsigned long)call->session.who.uid);
        return PAM_SUCCESS;
    }
    if (wish_may_fall_back(&wish, &call->options.choice) && wish_has_no_environment(&e) && try_default(call, &e) == 0)
        return PAM_SUCCESS;
    if (call->hindrance != NULL)
        return fail(call, call->hindrance);
    (void)moment_end(call->pamh);
    chos_error_text(&e, &why);
    int rc = fail(call, text);
    return e.reason == CHOS_STRANDED ? PAM_ABORT : rc;
}

static int open_for(struct call *call, const struct passwd *pw)
{
    struct person *who = &call->session.who;
    if (note_other(call->pamh))
        return fail(call, "another session is open in this process, and its process is not made yet");
    if (groups_find(pw, who))
        return fail(call, "your groups cannot be told");
    int rc = groups_prepare(pw, who) ? fail(call, "your groups cannot be kept") : choose(call);
    if (!moment_is_armed(call->pamh))
        groups_release();
    free(who->groups);
    return rc;
}

/* One session for each handle: if a stack names this module twice, nothing is entered or printed twice. */
static int open_session(struct call *call)
{
    const char *user = NULL;
    const void *before = NULL, *service = NULL;
    (void)pam_get_item(call->pamh, PAM_SERVICE, &service);
    copy(call->session.service, service);
    const char *aside = reason_to_step_aside(call);
    bool again = pam_get_data(call->pamh, session_name, &before) == PAM_SUCCESS && before != NULL;
    if (aside != NULL || again) {
        if (call->options.debug)
            pam_syslog(call->pamh, LOG_DEBUG, "stepping aside: %s", aside != NULL ? aside : "called already");
        return PAM_SUCCESS;
    }
    const struct passwd *pw = pam_get_user(call->pamh, &user, NULL) == PAM_SUCCESS && user != NULL
        ? pam_modutil_getpwnam(call->pamh, user) : NULL;
    if (pw != NULL && pw->pw_uid == 0)
        return PAM_SUCCESS;
    struct chos_error e;
    int staying = stays(call, &e);
    if (staying > 0)
        return PAM_SUCCESS;
    if (pam_set_data(call->pamh, session_name, (void *)session_name, discard) != PAM_SUCCESS)
        return fail(call, "out of memory");
    const char *wrong = pw == NULL ? "the account is not known" : what_is_wrong(call, staying < 0 ? &e : NULL);
    if (wrong != NULL)
        return fail(call, wrong);
    call->session.pamh = call->pamh;
    call->session.deny = call->options.deny;
    copy(call->session.user, pw->pw_name);
    return open_for(call, pw);
}

EXPORT int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct call call = {.pamh = pamh};
    (void)flags;
    pam_options_parse(argc, argv, &call.options);
    return open_session(&call);
}

/* The host has not moved, so there is nothing to undo. */
EXPORT int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct pam_options options;
    (void)flags;
    pam_options_parse(argc, argv, &options);
    (void)note_other(pamh);
    if (!moment_close(pamh))
        pam_syslog(pamh, options.deny ? LOG_ERR : LOG_NOTICE, "nobody has entered%s: this service made no process that came to where"
                   " it would; see enter= in pam_chos(8)", options.deny ? ", although onerr=deny" : "");
    (void)pam_set_data(pamh, session_name, NULL, NULL);
    return PAM_SUCCESS;
}

EXPORT int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_IGNORE;
}

/* The last auth line of a service whose child enters here. The call in the host, which comes first, shows that the line is
 * in the stack. */
EXPORT int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)argc;
    (void)argv;
    if ((flags & PAM_DELETE_CRED) == 0) {
        (void)note_other(pamh);
        moment_setcred(pamh);
        (void)pam_set_data(pamh, pam_setcred_name, (void *)pam_setcred_name, nothing);
    }
    return PAM_IGNORE;
}
