/* The job's process becomes the user permanently, enters the environment, and executes. Its parent stays on the base, so
 * that the session can be closed there. No process is inside as root (late.c).
 *
 * The job stays in the session and process group by which pbs_mom knows it. Signals to this process are passed on to the job.
 * pbs_mom signals every process of a session, so a job may receive a signal twice.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif

enum { TEXT = 4096 };

const int passed[PASSED_COUNT] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGXCPU, SIGALRM, SIGWINCH};

_Noreturn static void end_with(const struct chos_error *e, int status)
{
    char text[TEXT] = "";
    struct chos_text t = {text, sizeof text, 0};
    chos_put(&t, "chos: ");
    chos_error_text(e, &t);
    (void)!write(2, text, t.len);
    _exit(status);
}

_Noreturn static void refuse_entry(const struct chos_error *e)
{
    end_with(e, FAILED);
}

/* Prints the same hint as chos-job-starter. */
_Noreturn static void not_executed(const char *name, int err)
{
    struct chos_error e;
    bool missing = err == ENOENT || err == ENOTDIR;
    enum chos_reason reason = !missing ? CHOS_NOT_EXECUTABLE
        : strchr(name, '/') != NULL && access(name, F_OK) == 0 ? CHOS_NOT_INSIDE : CHOS_NOT_FOUND;
    chos_fail(&e, reason, missing ? 0 : err, name);
    end_with(&e, missing ? NOT_FOUND : NOT_EXECUTABLE);
}

static void open_record(struct chos_record *record)
{
    struct chos_jobs jobs;
    struct chos_error ignored;
    if (chos_jobs_read(&jobs, &ignored) == 0)
        chos_record_open(record, &jobs, "");
}

/* Called as the user. Variables of the policy replace all others of the same name. */
static void enter(const struct job *job, struct chos_record *record)
{
    static struct chos_session s;
    struct chos_error e, kept;
    int rc = late_enter(&s, job->who, job->environment, &e);
    if (late_drop(rc == 0 ? &s : NULL, &kept))
        refuse_entry(&kept);
    if (rc != 0 || entry_apply(&s.policy, &e))
        refuse_entry(&e);
    bool base = s.target.kind == CHOS_TO_BASE;
    rc = setenv("CHOS", job->environment, 1) || (base ? unsetenv("CHOS_GENERATION") : setenv("CHOS_GENERATION", s.target.name, 1));
    for (unsigned i = 0; rc == 0 && i < s.policy.setenvs; i++)
        rc = putenv(s.policy.setenv[i]);
    if (rc != 0)
        refuse(NULL, "out of memory");
    chos_record_write(record, &(struct chos_entry){job->who->uid, job->who->name, job->environment, s.target.name, "jobstarter",
                                                   NULL});
}

/* pbs_mom changed to this directory as root. Here it is checked whether the user may. */
static void go(const char *directory)
{
    if (directory[0] == '/' && chdir(directory) == 0)
        return;
    tell(directory, "the working directory cannot be kept; going to /");
    if (chdir("/"))
        refuse("/", strerror(errno));
}

_Noreturn static void run(const struct job *job, const sigset_t *mask, pid_t parent)
{
    struct chos_record record = {-1, -1};
    struct chos_error e;
    if (job->environment != NULL) {
        open_record(&record);
        if (late_keep(&e))
            refuse_entry(&e);
    }
    int err = identity_take(job->who);
    if (err != 0)
        refuse(job->who->name, strerror(err));
    /* If the parent ends, this process must end too, because the session would not be closed. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() != parent)
        _exit(FAILED);
    environ = job->env;   /* from here on PATH is the job's too */
    if (job->environment != NULL)
        enter(job, &record);
    go(job->directory);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(job->argv[0], job->argv);
    not_executed(job->argv[0], errno);
}

/* Not fork(3), because that would run handlers of PAM modules in the child, which is still root. */
pid_t divide(void)
{
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } how = {.exit_signal = SIGCHLD};
    return (pid_t)syscall(SYS_clone3, &how, sizeof how);
}

void let_go(int count)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < count; fd++)
        dup2(null, fd);
}

static void watch(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    for (size_t i = 0; i < PASSED_COUNT; i++)
        sigaddset(set, passed[i]);
}

pid_t job_start(const struct job *job)
{
    sigset_t set, before;
    pid_t parent = getpid();
    watch(&set);
    sigprocmask(SIG_BLOCK, &set, &before);
    pid_t pid = divide();
    if (pid == 0)
        run(job, &before, parent);
    return pid;
}

int job_wait(pid_t pid)
{
    int status, signal;
    sigset_t set;
    watch(&set);
    let_go(2);   /* standard error stays for messages */
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            return status;
        if (ended < 0 && errno != EINTR)
            return -1;
        if (ended == 0 && sigwait(&set, &signal) == 0 && signal != SIGCHLD)
            (void)kill(pid, signal);
    }
}
