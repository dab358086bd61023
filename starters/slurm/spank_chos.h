/* What the modules of spank_chos.so share. */
#ifndef SPANK_CHOS_H
#define SPANK_CHOS_H

#include "host.h"

/* The words behind `spank_chos.so` in plugstack.conf; and what `--chos=` said, empty where nobody said it. */
struct plugin {
    struct choice choice;
    bool submit_check;
    const char *wrong;      /* the first option that is none */
    char asked[CHOS_NAME_SIZE];
};

/* A task's user and place in the job, as slurmstepd says them. */
struct task {
    struct person who;
    const char *user;       /* the account's name, NULL where nobody knows it */
    const char *script;     /* of a batch step: what will be executed, else NULL */
    char job[64];
    bool first;             /* of its step on this node */
};

/* lookup.c: whether there is such an environment here, and what it is; the process stays where it is. */
enum place { PLACE_HERE, PLACE_ELSEWHERE };
int look_up(const char *name, enum place *place, struct chos_error *e);

/* enter.c: on success the process is in the environment, with its policy, and `s` says which. */
int enter(const struct task *task, const char *name, struct chos_session *s, struct chos_error *e);

#endif
