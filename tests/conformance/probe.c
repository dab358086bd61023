/* What the tests need inside a tree that a shell cannot do: probe thread-exec COMMAND…; probe userns; probe ids; probe mount. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *execute(void *command)
{
    char **words = command;
    execvp(words[0], words);
    perror(words[0]);
    _exit(1);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "thread-exec") == 0 && argc > 2) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, execute, argv + 2) != 0)
            return 1;
        for (;;)
            pause();
    }
    if (strcmp(what, "userns") == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0)
            return puts("made") < 0;
        perror("unshare");
        return 1;
    }
    if (strcmp(what, "ids") == 0)
        return printf("%u %u\n", (unsigned)getuid(), (unsigned)geteuid()) < 0;
    return 2;
}
