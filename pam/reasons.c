/* Whether a process of this host may enter, and when. This is checked before the user's choice. */
#include "pam_chos.h"

#include <security/pam_ext.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum { LINE = 1024 };

const char pam_setcred_name[] = "pam_chos_setcred";

/* Why this session stays on the base without a message; NULL otherwise. Nothing is wrong in these cases. */
const char *reason_to_step_aside(const struct call *call)
{
    const char *service = call->session.service;
    struct stat st;
    if (geteuid() != 0)
        return "the host process is not root";
    /* the steps of Slurm enter by spank_chos.so */
    if (strcmp(service, "slurm") == 0)
        return "slurm has its own way in";
    if (stat("/proc/self/task", &st) == 0 && st.st_nlink > 3)
        return "the host process has several threads";
    if (call->options.moment_said && call->options.moment == NEVER)
        return "enter=no";
    if (is_sudo(service) && sudo_edits(call->pamh) > 0)
        return "sudo -e runs the editor of its caller";
    return NULL;
}

/* The site's setting for this service. 1: it stays on the base; -1: the setting cannot be read, so it might. */
int stays(const struct call *call, struct chos_error *e)
{
    static struct chos_jobs jobs;
    return chos_jobs_read(&jobs, e) ? -1 : chos_jobs_stays(&jobs, call->session.service);
}

/* Whether the service's own file has an auth line with this module. Some hosts call pam_setcred(3) only in the child, so this
 * is the only way to know before. */
static bool has_auth_line(const char *service)
{
    char path[sizeof "/etc/pam.d/" + CHOS_NAME_SIZE], line[LINE];
    struct chos_text t = {path, sizeof path, 0};
    bool found = false;
    chos_put(&t, "/etc/pam.d/");
    chos_put(&t, service);
    FILE *file = strchr(service, '/') == NULL ? fopen(path, "re") : NULL;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        const char *word = line + strspn(line, " \t-");
        found = strncasecmp(word, "auth", 4) == 0 && strstr(word, "pam_chos.so") != NULL;
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}

/* Finds out when a process of this host may enter. If that is unknown, nothing enters, and the result says why. */
const char *find_moment(struct call *call)
{
    const void *mark = NULL;
    struct session *session = &call->session;
    session->moment = call->options.moment_said ? call->options.moment : moment_of_service(session->service);
    if (session->moment == NEVER)
        return "it is not known when a process of this service may enter; see enter= in pam_chos(8)";
    bool called = pam_get_data(call->pamh, pam_setcred_name, &mark) == PAM_SUCCESS && mark != NULL;
    /* sshd calls pam_setcred(3) before it opens a session. If it has not done so by then, it does not use our auth line. */
    bool calls_before = strcmp(session->service, "sshd") == 0;
    if (session->moment == AT_SETCRED && !called && (calls_before || !has_auth_line(session->service)))
        return "this service needs a second line, the last of its auth lines; run `chosctl install pam` again";
    return NULL;
}

/* A problem of this node, for sessions of any user; NULL if there is none. */
const char *what_is_wrong(const struct call *call, const struct chos_error *of_settings)
{
    static char text[PAM_MESSAGE];
    struct chos_text t = {text, sizeof text, 0};
    if (call->options.wrong != NULL) {
        pam_syslog(call->pamh, LOG_ERR, "unknown option or value: %s", call->options.wrong);
        return "pam_chos.so is not configured correctly on this node; tell your administrator";
    }
    if (is_sudo(call->session.service) && sudo_edits(call->pamh) < 0)
        return "whether sudo runs an editor cannot be told: its words in /proc cannot be read";
    if (of_settings == NULL)
        return NULL;
    text[0] = '\0';
    chos_error_text(of_settings, &t);
    return text;
}
