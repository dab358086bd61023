/* chos without a command: the user's login shell in a cleaned environment (/etc/chos.conf, compiled to `login`). */
#include "launcher.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Copies the pointers of the variables to keep into `to`, which has room for CHOS_KEEP_MAX + 2. PATH is set and not kept. */
unsigned login_environment(const struct chos_login *login, char **from, char *to[])
{
    static char path[] = "PATH=/bin:/usr/bin:/usr/local/bin";
    unsigned n = 0;
    if (login->path)
        to[n++] = path;
    for (unsigned k = 0; k < login->keeps; k++) {
        size_t len = strlen(login->keep[k]);
        for (char **v = from; *v != NULL; v++) {
            if (strncmp(*v, login->keep[k], len) == 0 && (*v)[len] == '=' && !(login->path && to[0] == path
                && strcmp(login->keep[k], "PATH") == 0)) {
                to[n++] = *v;
                break;
            }
        }
    }
    to[n] = NULL;
    return n;
}

/* `environ` is already the cleaned one. */
void login_run(const struct chos_login *login)
{
    const char *named = account()->shell, *shell = named != NULL && named[0] == '/' ? named : "/bin/sh";
    bool l = login->bashlogin || strstr(shell, "csh") != NULL;
    const char *const argv[] = {shell, l ? "-l" : "-", NULL};
    execve(shell, (char *const *)argv, environ);
    struct chos_error e;
    chos_fail(&e, CHOS_NO_SHELL, errno, shell);
    die(&e);
}
