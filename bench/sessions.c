/* Times PAM sessions: sessions ROUNDS USER SERVICE..., as root.
 *
 * Each round opens and closes one session of each service, which has one process that ends at once, made by fork(2), in an order that turns, in a child made for it: as in a
 * daemon that serves one login by one process, nothing is warm, and the modules are loaded anew. What such a daemon
 * has asked by then, who the user is and in which groups, is asked before the clock starts. $CHOS is not set: the
 * user's file says where to.
 * Prints one line a round: for each service nanoseconds of start, open and the process, then of close and end.
 */
#include <grp.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SERVICES = 8, GROUPS = 256 };

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nobody is asked anything; what is said is an error, and ends it all. */
static int converse(int n, const struct pam_message **message, struct pam_response **response, void *data)
{
    (void)response;
    (void)data;
    for (int i = 0; i < n; i++)
        fprintf(stderr, "sessions: %s\n", message[i]->msg);
    _exit(1);
}

/* Where the host's child enters, that is part of the login. */
static int process(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 ? -1 : 0;
}

static int session(const char *service, const char *user, uint64_t took[2])
{
    static const struct pam_conv conv = {converse, NULL};
    pam_handle_t *pamh = NULL;
    gid_t groups[GROUPS];
    int count = GROUPS;
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL || getgrouplist(user, pw->pw_gid, groups, &count) < 0)
        return 1;
    uint64_t begin = now();
    if (pam_start(service, user, &conv, &pamh) != PAM_SUCCESS || pam_open_session(pamh, 0) != PAM_SUCCESS || process())
        return 1;
    took[0] = now() - begin;
    begin = now();
    if (pam_close_session(pamh, 0) != PAM_SUCCESS || pam_end(pamh, PAM_SUCCESS) != PAM_SUCCESS)
        return 1;
    took[1] = now() - begin;
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t (*took)[2] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int services = argc - 3, status;
    if (services < 1 || services > SERVICES || took == MAP_FAILED)
        return 2;
    unsetenv("CHOS");
    for (int round = 0; round < atoi(argv[1]); round++) {
        for (int i = 0; i < services; i++) {
            int which = (round + i) % services;
            pid_t pid = fork();
            if (pid == 0)
                _exit(session(argv[3 + which], argv[2], took[which]));
            if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
                fprintf(stderr, "sessions: %s: no session\n", argv[3 + which]);
                return 1;
            }
        }
        for (int i = 0; i < services; i++)
            printf("%llu %llu%c", (unsigned long long)took[i][0], (unsigned long long)took[i][1], i + 1 < services ? ' ' : '\n');
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
