/* Times commands against each other: spawn [-n ROUNDS] [-u UID] [-v] COMMAND [ARG...] [::: COMMAND [ARG...]]...
 *
 * Each round runs every command once, in an order drawn anew, so that what disturbs the machine disturbs all of them
 * alike and none always follows the same neighbour. Prints one line a round: nanoseconds from before fork to after wait.
 *
 * A command may begin with @PATH, a mount namespace to be in (needs root), and instead of a program name
 *   %open PATH    open and close a file        %stat PATH    stat it
 * a thousand times, the result being the time of one. What the commands print is thrown away.
 *
 * -u UID: as that user. -v: vfork, as posix_spawn does it, instead of fork. A command that fails ends it all with status 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMMANDS = 32, LOOPS = 1000, WARM = 5 };

struct command { char **argv; int ns; };

extern char **environ;
static int use_vfork;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t time_calls(int opens, const char *path)
{
    struct stat st;
    uint64_t begin = now();
    for (int i = 0; i < LOOPS; i++) {
        int fd = opens ? open(path, O_RDONLY) : stat(path, &st);
        if (fd < 0)
            die(path);
        if (opens)
            close(fd);
    }
    return (now() - begin) / LOOPS;
}

static uint64_t time_program(char **argv)
{
    int status;
    uint64_t begin = now();
    pid_t pid = use_vfork ? vfork() : fork();
    if (pid == 0) {
        execve(argv[0], argv, environ);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        die("fork");
    uint64_t end = now();
    if (status != 0) {
        fprintf(stderr, "spawn: %s: wait status %#x\n", argv[0], (unsigned)status);
        exit(1);
    }
    return end - begin;
}

static uint64_t time_command(const struct command *c, int home)
{
    if (c->ns >= 0 && setns(c->ns, CLONE_NEWNS))
        die("setns");
    uint64_t t = c->argv[0][0] == '%' ? time_calls(c->argv[0][1] == 'o', c->argv[1]) : time_program(c->argv);
    if (c->ns >= 0 && setns(home, CLONE_NEWNS))
        die("setns back");
    return t;
}

static int read_commands(char **argv, struct command *commands)
{
    int n = 0;
    for (char **arg = argv, **begin = argv; ; arg++) {
        if (*arg != NULL && strcmp(*arg, ":::") != 0)
            continue;
        int last = *arg == NULL;
        *arg = NULL;
        if (begin < arg && n < COMMANDS) {
            commands[n].ns = -1;
            if ((*begin)[0] == '@' && (commands[n].ns = open(*begin++ + 1, O_RDONLY | O_CLOEXEC)) < 0)
                die(begin[-1] + 1);
            commands[n++].argv = begin;
        }
        if (last)
            return n;
        begin = arg + 1;
    }
}

int main(int argc, char **argv)
{
    static struct command commands[COMMANDS];
    uint64_t took[COMMANDS];
    int order[COMMANDS], rounds = 100, opt;
    unsigned seed = 20;
    while ((opt = getopt(argc, argv, "+n:u:v")) != -1) {
        if (opt == 'n')
            rounds = atoi(optarg);
        else if (opt == 'v')
            use_vfork = 1;
        else if (opt != 'u' || setgid((gid_t)atoi(optarg)) || setuid((uid_t)atoi(optarg)))
            die("usage: spawn [-n ROUNDS] [-u UID] [-v] COMMAND [ARG...] [::: COMMAND [ARG...]]...");
    }
    int n = read_commands(argv + optind, commands);
    int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    FILE *out = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 3), "w");
    if (out == NULL || freopen("/dev/null", "w", stdout) == NULL)
        die("/dev/null");
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int round = -WARM; round < rounds; round++) {
        for (int i = n - 1; i > 0; i--) {
            int j = rand_r(&seed) % (i + 1), other = order[i];
            order[i] = order[j];
            order[j] = other;
        }
        for (int i = 0; i < n; i++)
            took[order[i]] = time_command(&commands[order[i]], home);
        for (int i = 0; i < n && round >= 0; i++)
            fprintf(out, "%llu%c", (unsigned long long)took[i], i + 1 < n ? ' ' : '\n');
    }
    return fclose(out) == 0 ? 0 : 1;
}
