/* Counts what things cost, for bench/kmod.py: /PATH/kmod ROUNDS WHAT [ARG...], in a guest whose TSC counts instructions.
 *
 *   stat PATH | statat PATH (from its directory) | open PATH | fork | spawn CMD [ARG...] | setns PIN | setchos PATH
 *
 * Prints the median of the rounds: instructions, the kernel's included. Static, so that it runs in every tree.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

static char *const *args;
static int there = -1, back = -1;

static void need(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void do_stat(void)
{
    struct stat st;
    need(stat(args[0], &st) == 0, args[0]);
}

static void do_statat(void)
{
    struct stat st;
    const char *name = strrchr(args[0], '/') + 1;
    need(fstatat(there, name, &st, 0) == 0, name);
}

static void do_open(void)
{
    int fd = open(args[0], O_RDONLY | O_CLOEXEC);
    need(fd >= 0 && close(fd) == 0, args[0]);
}

static void do_fork(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (args[0]) {
            execvp(args[0], args);
            perror(args[0]);
        }
        _exit(args[0] ? 127 : 0);
    }
    need(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "fork");
}

static void do_setns(void) { need(setns(there, CLONE_NEWNS) == 0, "setns"); }
static void undo_setns(void) { need(setns(back, CLONE_NEWNS) == 0, "setns back"); }

static void do_setchos(void)
{
    size_t length = strlen(args[0]);
    need(write(there, args[0], length) == (ssize_t)length, args[0]);
}
static void undo_setchos(void) { need(write(there, "/", 1) == 1, "setchos /"); }
static void undo_nothing(void) { }

static int open_or_end(const char *path, int flags)
{
    int fd = open(path, flags);
    need(fd >= 0, path);
    return fd;
}

static void prepare_nothing(void) { }

static void prepare_statat(void)
{
    char *directory = strdup(args[0]);
    char *end = directory ? strrchr(directory, '/') : NULL;
    need(end != NULL, args[0]);
    *end = '\0';
    there = open_or_end(directory, O_PATH | O_DIRECTORY);
    free(directory);
}

static void prepare_setns(void)
{
    there = open_or_end(args[0], O_RDONLY);
    back = open_or_end("/proc/self/ns/mnt", O_RDONLY);
}

static void prepare_setchos(void) { there = open_or_end("/proc/chos/setchos", O_WRONLY); }

static const struct thing {
    const char *name;
    void (*prepare)(void), (*act)(void), (*undo)(void);
} things[] = {
    { "stat", prepare_nothing, do_stat, undo_nothing },
    { "statat", prepare_statat, do_statat, undo_nothing },
    { "open", prepare_nothing, do_open, undo_nothing },
    { "fork", prepare_nothing, do_fork, undo_nothing },
    { "spawn", prepare_nothing, do_fork, undo_nothing },
    { "setns", prepare_setns, do_setns, undo_setns },
    { "setchos", prepare_setchos, do_setchos, undo_setchos },
};

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void measure(const struct thing *thing, long rounds)
{
    uint64_t *cost = calloc((size_t)rounds, sizeof *cost);
    need(cost != NULL, "memory");
    thing->prepare();
    /* A third more, first: caches, and the page that the samples go to, are warm then. */
    for (long n = -rounds / 3 - 1; n < rounds; n++) {
        uint64_t start = __rdtsc();
        thing->act();
        uint64_t end = __rdtsc();
        cost[n < 0 ? 0 : n] = end - start;
        thing->undo();
    }
    qsort(cost, (size_t)rounds, sizeof *cost, ascending);
    printf("%llu\n", (unsigned long long)cost[rounds / 2]);
    free(cost);
}

int main(int argc, char **argv)
{
    long rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    if (rounds <= 0 || (argc == 3 && strcmp(argv[2], "fork") != 0))
        return 2;
    args = argv + 3;
    /* Where things lie in memory is chance, and costs a little more or less. */
    if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE) && personality(ADDR_NO_RANDOMIZE) >= 0)
        need(execv(argv[0], argv) == 0, argv[0]);
    for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
        if (strcmp(things[i].name, argv[2]) == 0) {
            measure(&things[i], rounds);
            return 0;
        }
    }
    return 2;
}
