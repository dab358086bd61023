/* What the files of pam_job_starter's second program share. It is root, and its variables are its own. */
#ifndef SESSION_H
#define SESSION_H

#include "host.h"

#include <security/pam_appl.h>
#include <signal.h>
#include <sys/types.h>

enum { FAILED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

/* say.c: prints why, and ends with FAILED. Control characters in `object` are escaped; it may be NULL. */
_Noreturn void refuse(const char *object, const char *why);
void tell(const char *object, const char *text);

/* owner.c: whose job this is */
void owner_find(const char *logname, const char *last, struct person *who);

/* job.c: job_start returns the user's process, or -1; job_wait its status as from wait(2), or -1. Waiting closes our copies of
 * standard input and output. Signals are blocked from the start on. */
struct job {
    const struct person *who;
    char **argv, **env;
    const char *directory;      /* empty if there is none */
    const char *environment;    /* NULL: it stays on the base */
};
pid_t job_start(const struct job *job);
int job_wait(pid_t pid);

/* Which signals to us are passed on to the job. */
enum { PASSED_COUNT = 9 };
extern const int passed[PASSED_COUNT];

/* Closes our copies of the first `count` descriptors, the job's terminal and pipes, so that they close when the job ends. */
void let_go(int count);

/* Makes a copy of this process without running the modules' handlers of fork(3). */
pid_t divide(void);

/* closer.c: the process that closes the session, once, also if this one is killed */
void closer_remember(void);
int closer_start(pam_handle_t *pamh);
void closer_end(int closer, pam_handle_t *pamh);

#endif
