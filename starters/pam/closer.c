/* Closes the PAM session, also if the process that opened it cannot: qdel lets pbs_mom send SIGKILL to every process of the job's
 * session (setsid(2)), and the process that waits for the job belongs to that session.
 *
 * So a second process closes the session, and nobody else does: two would run each module's close twice if the first were killed
 * while it closes. The second process has its own session, and its parent is outside the job's. It was copied after the PAM
 * session was opened, so it has all data of libpam and the modules. Like the first one it is root, on the base.
 */
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INHERITED_MAX = 4096 };

static int inherited[INHERITED_MAX];
static size_t inherited_count;

/* The descriptors that this program was started with, and that PAM's modules did not open; 4096 of them. Call it first. */
void closer_remember(void)
{
    struct dirent *entry;
    DIR *all = opendir("/proc/self/fd");
    while (all != NULL && inherited_count < INHERITED_MAX && (entry = readdir(all)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10);   /* of "." and "..": 0 */
        if (fd >= 3 && fd != dirfd(all))
            inherited[inherited_count++] = fd;
    }
    if (all != NULL)
        closedir(all);
}

/* Closes pipes and connections of others, which the job would have closed by its end. */
static void keep_off(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < PASSED_COUNT; i++)
        sigaddset(&set, passed[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    let_go(3);
    for (size_t i = 0; i < inherited_count; i++)
        close(inherited[i]);
    (void)!chdir("/");
}

/* A byte means that the job has ended; end of file means that the first process is gone. The answer is the result. */
_Noreturn static void wait_and_close(int socket, pam_handle_t *pamh)
{
    char byte;
    int rc;
    keep_off();
    while (read(socket, &byte, 1) < 0 && errno == EINTR)
        continue;
    rc = pam_close_session(pamh, PAM_SILENT);
    (void)pam_end(pamh, rc);
    (void)!send(socket, &rc, sizeof rc, MSG_NOSIGNAL);
    _exit(0);
}

static int cannot_start(void)
{
    tell("the process that closes the session if this one is killed", strerror(errno));
    return -1;
}

/* Returns a descriptor for closer_end, or -1: then nobody closes the session after a SIGKILL, which is said. */
int closer_start(pam_handle_t *pamh)
{
    int ends[2], status = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return cannot_start();
    pid_t between = divide();
    if (between == 0) {
        close(ends[0]);
        pid_t closer = setsid() < 0 ? -1 : divide();
        if (closer == 0)
            wait_and_close(ends[1], pamh);
        _exit(closer < 0 ? errno : 0);
    }
    int err = errno;
    close(ends[1]);
    while (between > 0 && waitpid(between, &status, 0) < 0 && errno == EINTR)
        continue;
    if (between > 0 && status == 0)
        return ends[0];
    close(ends[0]);
    errno = between < 0 ? err : WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return cannot_start();
}

/* Closes the session and ends PAM, here only if the closer did not live to do it. If it did, the modules clean up here without
 * effects outside of this process (PAM_DATA_SILENT, pam_end(3)), because the closer's copy has had them. */
void closer_end(int closer, pam_handle_t *pamh)
{
    int rc;
    ssize_t n = -1;
    if (closer >= 0 && send(closer, "", 1, MSG_NOSIGNAL) == 1) {
        while ((n = recv(closer, &rc, sizeof rc, 0)) < 0 && errno == EINTR)
            continue;
    }
    if (n == (ssize_t)sizeof rc)
        rc |= PAM_DATA_SILENT;
    else
        rc = pam_close_session(pamh, PAM_SILENT);
    (void)pam_end(pamh, rc);
}
