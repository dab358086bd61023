/* Times the privileged part of entering: privileged UID ALIAS [ROUNDS], as root, on the base.
 *
 * It is built from libchos like the launcher, with the same compiler and libc. Each round forks a child that becomes
 * the user with the launcher's three capabilities and then does what launcher/chos.c does between its first and its last
 * privileged step, once, as a launcher does: nothing is warm that is not warm there too, page faults included.
 * Prints one line a round, nanoseconds: the whole, and of it: reduce, registry, enter, drop. A second child of each round
 * stops after the generation is found, which is a part of enter: the last number.
 */
#include "chos.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 4 };

static struct chos_session session;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int enter(const char *alias, int only_find, uint64_t at[STEPS + 1], struct chos_error *e)
{
    at[0] = now();
    if (chos_privs_reduce(e))
        return -1;
    at[1] = now();
    if (chos_choose(&session, alias, e) || chos_registry_open(&session, e) || chos_backend_choose(&session, e))
        return -1;
    at[2] = now();
    if (only_find ? chos_find(&session, e) : chos_enter(&session, e))
        return -1;
    at[3] = now();
    if (chos_privs_drop(session.policy.no_new_privs, e))
        return -1;
    at[4] = now();
    return 0;
}

static int in_child(uid_t uid, const char *alias, int only_find, uint64_t *at)
{
    struct chos_error e;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) || setresgid(uid, uid, uid) || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setresuid(uid, uid, uid))
            _exit(3);
        if (enter(alias, only_find, at, &e) == 0)
            _exit(0);
        fprintf(stderr, "privileged: %s: %s\n", e.object, e.message ? e.message : "failed");
        _exit(1);
    }
    return pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    uint64_t *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (argc < 3 || at == MAP_FAILED)
        return 2;
    uid_t uid = (uid_t)atoi(argv[1]);
    int rounds = argc > 3 ? atoi(argv[3]) : 100;
    for (int i = 0; i < rounds; i++) {
        if (in_child(uid, argv[2], 0, at))
            return 1;
        printf("%llu", (unsigned long long)(at[STEPS] - at[0]));
        for (int step = 0; step < STEPS; step++)
            printf(" %llu", (unsigned long long)(at[step + 1] - at[step]));
        if (in_child(uid, argv[2], 1, at))
            return 1;
        printf(" %llu\n", (unsigned long long)(at[3] - at[2]));
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
