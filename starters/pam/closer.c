/* Closes the PAM session if the process that opened it cannot: qdel lets pbs_mom send SIGKILL to every process of the job's
 * session (setsid(2)), and the process that waits for the job belongs to that session.
 *
 * So a second process waits for the first one. It has its own session, and its parent is outside the job's. It was copied
 * after the PAM session was opened, so it has all data of libpam and the modules. Like the first one it is root, on the base.
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

/* A byte in the pipe means that the session was closed; end of file means that the first process is gone. */
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

/* Returns a descriptor for closer_tell, or -1: then nobody closes the session after a SIGKILL. */
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
    (void)signal(SIGPIPE, SIG_IGN);   /* the write fails if the closer was killed */
    (void)!write(closer, "", 1);
}
