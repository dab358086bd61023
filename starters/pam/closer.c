/* Closes the session of PAM where its own process cannot: qdel lets pbs_mom send SIGKILL to every process of the job's
 * session (setsid(2)), and the one that waits for the job is in it.
 *
 * So another process waits for that one, in a session of its own, and a child of nobody there. It has what libpam and the
 * modules know, because it was copied when the session had been opened; and like the first it is root, on the base.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void keep_off(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < PASSED_COUNT; i++)
        sigaddset(&set, passed[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++)
        dup2(null, fd);
    (void)!chdir("/");
}

/* A byte says that the session was closed; the end of the pipe, that its process is gone. */
_Noreturn static void wait_and_close(int pipe, pam_handle_t *pamh)
{
    char byte;
    ssize_t n;
    keep_off();
    while ((n = read(pipe, &byte, 1)) < 0 && errno == EINTR)
        continue;
    if (n == 0)
        (void)pam_end(pamh, pam_close_session(pamh, PAM_SILENT));
    _exit(0);
}

/* A descriptor for closer_tell, or -1: then nobody closes it after SIGKILL. */
int closer_start(pam_handle_t *pamh)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    pid_t between = divide();
    if (between == 0) {
        close(ends[1]);
        if (setsid() >= 0 && divide() == 0)
            wait_and_close(ends[0], pamh);
        _exit(0);
    }
    close(ends[0]);
    while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
        continue;
    return ends[1];
}

void closer_tell(int closer)
{
    (void)signal(SIGPIPE, SIG_IGN);   /* it may have been killed */
    (void)!write(closer, "", 1);
}
