/* pam_job_starter: for a batch system that runs its job starter as root (TORQUE's $job_starter_run_privileged).
 *
 * The variables are the job's: its user wrote them, and we are root. A dynamic program that is not set-uid obeys
 * LD_PRELOAD and similar variables, even as root. So this program is static, with a C library that reads no variables
 * before main. It puts a dot before the name of each variable, so that no program or library knows it, and executes the second
 * program, which has to load PAM's modules.
 *
 * A caller that is not root gets chos-job-starter, which needs no root.
 */
#include "sys/standard.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAILED = 125 };

static char **list, *text;

_Noreturn static void refuse(const char *why)
{
    ssize_t n = write(2, why, strlen(why));
    (void)n;   /* if it fails, nobody could be told */
    _exit(FAILED);
}

static char **dotted(void)
{
    size_t count = 0, size = 0;
    for (char **v = environ; *v != NULL; v++, count++)
        size += strlen(*v) + 2;
    list = calloc(count + 1, sizeof *list);
    text = malloc(size + 1);
    if (list == NULL || text == NULL)
        refuse("chos: out of memory\n");
    char *to = text;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(environ[i]) + 1;
        list[i] = to;
        *to++ = '.';
        memcpy(to, environ[i], length);
        to += length;
    }
    return list;
}

int main(int argc, char **argv)
{
    if (chos_standard_fill())
        _exit(FAILED);
    if (argc < 2)
        refuse("usage: pam_job_starter COMMAND [ARGUMENT...]\n");
    if (getuid() != geteuid() || getgid() != getegid())
        refuse("chos: pam_job_starter must not be set-uid or set-gid\n");
    if (getuid() != 0) {
        argv[0] = (char[]){"chos-job-starter"};
        execve(CHOS_BINDIR "/chos-job-starter", argv, environ);
        refuse("chos: " CHOS_BINDIR "/chos-job-starter cannot be run\n");
    }
    argv[0] = (char[]){"pam_job_starter"};
    execve(CHOS_STARTERS "/pam/session", argv, dotted());
    refuse("chos: " CHOS_STARTERS "/pam/session cannot be run\n");
}
