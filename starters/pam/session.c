/* The second program of pam_job_starter: opens a PAM session for the job's user (service `jobstarter`), runs the job in it, and
 * closes it. pam_chos in that stack decides which environment the job gets. The job's process enters it after it has
 * become the user (job.c). This process is root and stays on the base.
 *
 * Variables whose names begin with a dot are the job's (pam_job_starter.c).
 */
#include "session.h"

#include <errno.h>
#include <limits.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "PATH=/usr/bin:/bin:/usr/sbin:/sbin";
static char *own[] = {path, NULL, NULL};
static char **job;   /* the job's variables */

/* Messages go to the job's standard error. Questions are refused, because nobody can answer them. */
static int converse(int count, const struct pam_message **messages, struct pam_response **answers, void *unused)
{
    (void)unused;
    if (count <= 0 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    for (int i = 0; i < count; i++) {
        if (messages[i]->msg_style != PAM_TEXT_INFO && messages[i]->msg_style != PAM_ERROR_MSG)
            return PAM_CONV_ERR;
    }
    *answers = calloc((size_t)count, sizeof **answers);
    if (*answers == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        ssize_t n = write(2, messages[i]->msg, strlen(messages[i]->msg)) + write(2, "\n", 1);
        (void)n;
    }
    return PAM_SUCCESS;
}

/* Takes the dots off the job's variables. Our own variables are removed, except PATH. */
static void take_variables(void)
{
    size_t count = 0, n = 0;
    while (environ[count] != NULL)
        count++;
    job = calloc(count + 1, sizeof *job);
    if (job == NULL)
        refuse(NULL, "out of memory");
    for (char **v = environ; *v != NULL; v++) {
        if ((*v)[0] == '.')
            job[n++] = *v + 1;
    }
    environ = own;
}

static const char *variable(char **env, const char *name)
{
    size_t length = strlen(name);
    for (; *env != NULL; env++) {
        if (strncmp(*env, name, length) == 0 && (*env)[length] == '=')
            return *env + length + 1;
    }
    return NULL;
}

/* Variables of the PAM session replace those of the job. */
static char **merge(char **pam)
{
    size_t count = 0, n = 0;
    for (char **v = job; *v != NULL; v++)
        count++;
    for (char **v = pam; *v != NULL; v++)
        count++;
    char **all = calloc(count + 1, sizeof *all);
    if (all == NULL)
        return NULL;
    for (char **v = pam; *v != NULL; v++)
        all[n++] = *v;
    for (char **v = job; *v != NULL; v++) {
        char *equals = strchr(*v, '='), *name = equals ? strndup(*v, (size_t)(equals - *v)) : NULL;
        if (name == NULL || variable(pam, name) == NULL)
            all[n++] = *v;
        free(name);
    }
    return all;
}

/* Without this file PAM would use the stack `other`, in which pam_chos is missing. */
static void require_stack(void)
{
    if (access("/etc/pam.d/jobstarter", F_OK) != 0 && access("/usr/lib/pam.d/jobstarter", F_OK) != 0)
        refuse("/etc/pam.d/jobstarter", "is missing; see chos-job-starter(1)");
}

/* While the stack runs, our own $CHOS holds the job's wish. Afterwards PAM's variables hold what pam_chos decided. */
static int open_session(pam_handle_t *pamh, const char *wish)
{
    static const char name[] = "CHOS=";
    own[1] = wish != NULL ? (char *)wish - strlen(name) : NULL;
    int rc = pam_acct_mgmt(pamh, PAM_SILENT);
    if (rc == PAM_SUCCESS)
        rc = pam_open_session(pamh, 0);
    own[1] = NULL;
    return rc;
}

/* If pam_chos is missing in the stack, or had a reason to do nothing, the job would run on the base. */
static bool is_as_wished(const char *environment, const char *wish)
{
    return wish == NULL || (environment != NULL && strcmp(environment, wish) == 0);
}

/* Returns the pid of the job's process, or -1. */
static pid_t start(pam_handle_t *pamh, struct job *j)
{
    char **session = pam_getenvlist(pamh);
    j->env = session != NULL ? merge(session) : NULL;
    pid_t pid = j->env != NULL ? job_start(j) : -1;
    if (pid < 0)
        tell("the job's process", strerror(errno));
    return pid;
}

/* Ends as the job did: with its status, or by its signal, without a core dump of our own. */
_Noreturn static void end_as(int status)
{
    if (status >= 0 && WIFSIGNALED(status)) {
        sigset_t none;
        sigemptyset(&none);
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)signal(WTERMSIG(status), SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)raise(WTERMSIG(status));
    }
    _exit(status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : FAILED);
}

int main(int argc, char **argv)
{
    static char directory[PATH_MAX];
    static const struct pam_conv conversation = {converse, NULL};
    struct person who;
    pam_handle_t *pamh = NULL;
    pid_t pid = -1;
    if (argc < 2 || getuid() != 0 || geteuid() != 0)
        refuse(NULL, "this program is for pam_job_starter");
    closer_remember();
    (void)signal(SIGCHLD, SIG_DFL);   /* if SIGCHLD were ignored, neither we nor modules could wait for children */
    take_variables();
    require_stack();
    if (getcwd(directory, sizeof directory) == NULL)
        directory[0] = '\0';
    owner_find(variable(job, "LOGNAME"), argv[argc - 1], &who);
    const char *wish = variable(job, "CHOS");
    if (wish != NULL && wish[0] == '\0')
        wish = NULL;
    if (pam_start("jobstarter", who.name, &conversation, &pamh) != PAM_SUCCESS)
        refuse(NULL, "PAM cannot be used");

    int rc = open_session(pamh, wish);
    bool opened = rc == PAM_SUCCESS;
    int closer = opened ? closer_start(pamh) : -1;
    struct job j = {.who = &who, .argv = argv + 1, .directory = directory, .environment = pam_getenv(pamh, "CHOS")};
    if (j.environment != NULL && j.environment[0] == '\0')
        j.environment = NULL;
    if (!opened)
        tell("jobstarter", pam_strerror(pamh, rc));
    else if (!is_as_wished(j.environment, wish))
        tell(wish, "was not entered; the stack `jobstarter` needs pam_chos.so onerr=deny");
    else
        pid = start(pamh, &j);
    int status = pid > 0 ? job_wait(pid) : -1;
    if (opened)
        closer_end(closer, pamh);
    else
        (void)pam_end(pamh, rc);
    end_as(status);
}
