/* What the modules of pam_job_starter's second program share. It is root, and its variables are its own. */
#ifndef SESSION_H
#define SESSION_H

#include <security/pam_appl.h>
#include <signal.h>
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
void owner_find(const char *logname, const char *last, struct account *who);

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

/* What a signal to us means for the job. */
enum { PASSED_COUNT = 9 };
extern const int passed[PASSED_COUNT];

/* A copy of this process, made by no handler of a module's. */
pid_t divide(void);

/* closer.c: closes the session if this process is killed; closer_tell says that it was closed. */
int closer_start(pam_handle_t *pamh);
void closer_tell(int closer);

#endif
