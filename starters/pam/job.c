/* The job's process becomes the user, for good, and executes; its parent stays, so that the session can be closed.
 *
 * The job stays in the session and process group that pbs_mom knows it by. Signals to this process alone are passed on;
 * pbs_mom signals every process of a session, so a job may see one twice.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int passed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGXCPU, SIGALRM, SIGWINCH};

static void become(const struct account *who)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    if (setgroups((size_t)who->count, who->groups) || setresgid(who->gid, who->gid, who->gid)
        || setresuid(who->uid, who->uid, who->uid))
        refuse(who->name, strerror(errno));
    if (getresuid(&ruid, &euid, &suid) || getresgid(&rgid, &egid, &sgid) || ruid != who->uid || euid != who->uid
        || suid != who->uid || rgid != who->gid || egid != who->gid || sgid != who->gid
        || getgroups(0, NULL) != who->count || setuid(0) == 0)
        refuse(who->name, "could not become this user");
}

/* pbs_mom went there as root: the user's right is asked only now. */
static void go(const char *directory)
{
    if (directory[0] == '/' && chdir(directory) == 0)
        return;
    tell(directory, "the working directory cannot be kept; going to /");
    if (chdir("/"))
        refuse("/", strerror(errno));
}

_Noreturn static void job(const struct account *who, char **argv, char **env, const char *directory, const sigset_t *mask,
                          pid_t parent)
{
    become(who);
    /* Without its parent there is nobody who closes the session. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() != parent)
        _exit(FAILED);
    go(directory);
    sigprocmask(SIG_SETMASK, mask, NULL);
    environ = env;   /* PATH, too, is the job's now */
    execvp(argv[0], argv);
    int err = errno;
    tell(argv[0], strerror(err));
    _exit(err == ENOENT || err == ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE);
}

/* Terminal and pipes are the job's alone: they close when it ends. Messages still have somewhere to go. */
static void let_go(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
    }
}

static void watch(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        sigaddset(set, passed[i]);
}

pid_t job_start(const struct account *who, char **argv, char **env, const char *directory)
{
    sigset_t set, before;
    pid_t parent = getpid();
    watch(&set);
    sigprocmask(SIG_BLOCK, &set, &before);
    pid_t pid = fork();
    if (pid == 0)
        job(who, argv, env, directory, &before, parent);
    return pid;
}

int job_wait(pid_t pid)
{
    int status, signal;
    sigset_t set;
    watch(&set);
    let_go();
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
