/* Executes a command as glibc's execvp(3) does, and reports errors as env(1) does.
 *
 * musl's own execvp does not run a script without a #! line, but users' jobs rely on that.
 */
#include "launcher.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Returns only if it failed. The slot of argv before the command takes /bin/sh for a script without #!. */
static void try_exec(char *path, char **command)
{
    char *before[] = {command[-1], command[0]};
    execve(path, command, environ);
    if (errno != ENOEXEC)
        return;
    command[-1] = (char[]){"/bin/sh"};
    command[0] = path;
    execve(command[-1], command - 1, environ);
    memcpy(command - 1, before, sizeof before);
}

/* Tries each directory of PATH. A file that cannot be executed is remembered for the error, because a later one may work. */
__attribute__((noinline)) static void search(char **command)
{
    char path[PATH_MAX];
    const char *dirs = getenv("PATH"), *end;
    size_t name = strlen(command[0]);
    int result = ENOENT;
    for (dirs = dirs ? dirs : "/bin:/usr/bin"; dirs != NULL; dirs = *end ? end + 1 : NULL) {
        end = strchrnul(dirs, ':');
        size_t dir = (size_t)(end - dirs);
        if (dir + name + 2 > sizeof path)
            continue;
        memcpy(path, dirs, dir);
        path[dir] = '/';
        memcpy(path + dir + (dir > 0), command[0], name + 1);   /* an empty entry is the working directory */
        try_exec(path, command);
        if (errno == EACCES)
            result = EACCES;
        else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT)
            return;
    }
    errno = result;
}

void command_run(char **command)
{
    struct chos_error e;
    char *name = command[0];
    if (chos_fault("exec"))
        ;
    else if (strchr(name, '/') != NULL)
        try_exec(name, command);
    else if (name[0] != '\0')
        search(command);
    else
        errno = ENOENT;
    bool missing = errno == ENOENT || errno == ENOTDIR;
    enum chos_reason reason = !missing ? CHOS_NOT_EXECUTABLE
        : strchr(name, '/') != NULL && access(name, F_OK) == 0 ? CHOS_NOT_INSIDE : CHOS_NOT_FOUND;
    chos_fail(&e, reason, missing ? 0 : errno, name);
    die(&e);
}
