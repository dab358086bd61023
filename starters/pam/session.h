/* What the modules of pam_job_starter's second program share. It is root, and its variables are its own. */
#ifndef SESSION_H
#define SESSION_H

#include <sys/types.h>

enum { FAILED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

/* Says why, and ends with FAILED; control characters of `object` are escaped. It may be NULL. */
_Noreturn void refuse(const char *object, const char *why);
void tell(const char *object, const char *text);

/* owner.c: whose job this is */
struct account {
    char *name;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    int count;
};
void owner_find(const char *logname, struct account *who);

/* job.c: the user's process, or -1; and its status as from wait(2), or -1. Waiting lets go of the standard input and output,
 * and signals are blocked from the start on. */
struct job {
    const struct account *who;
    char **argv, **env;
    const char *directory;      /* empty where there is none */
    const char *environment;    /* NULL: it stays on the base */
};
pid_t job_start(const struct job *job);
int job_wait(pid_t pid);

#endif
