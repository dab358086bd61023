/* What the files of spank_chos.so share. */
#ifndef SPANK_CHOS_H
#define SPANK_CHOS_H

#include "host.h"

#pragma GCC visibility push(default)
#include <slurm/slurm.h>
#include <slurm/spank.h>
#pragma GCC visibility pop

enum { MESSAGE = 1500, FAILED = 125 };

/* These variables carry the choice from the submission to the tasks. Slurm passes a batch job's options on as variables of other
 * names, which --export=NONE removes like any variable. Variables named SLURM_* always pass. */
#define CARRIED_OPTION "SLURM_CHOS_OPTION"
#define CARRIED_VARIABLE "SLURM_CHOS"

/* The options after `spank_chos.so` in plugstack.conf, and the value of `--chos=`, empty if it was not given. */
struct plugin {
    struct choice choice;
    bool submit_check;
    const char *wrong;      /* the first unknown option */
    char asked[CHOS_NAME_SIZE];
};

/* What all tasks of a step on this node have in common. */
struct step {
    struct person who;
    const char *user;           /* the account's name, NULL if it is unknown */
    const char *script;         /* of a batch job: the file that will be executed, otherwise NULL */
    char job[64];
    struct wish wish;
    char said[CHOS_NAME_SIZE], generation[CHOS_NAME_SIZE];   /* the values that $CHOS and $CHOS_GENERATION of the tasks already have */
    char trouble[MESSAGE];      /* why no task of it can run; empty if they can */
    struct chos_jobs settings;
    /* For one task: what its first hook decided, for the second. */
    enum { UNDECIDED, STAYS, ENTERS } decision;
    struct chos_record records;
};

/* step.c: before the tasks are made, in a process that has threads */
void step_begin(spank_t spank, const struct plugin *plugin, struct step *step);

/* lookup.c: whether this host has such an environment, and which; the process stays where it is. */
enum place { PLACE_HERE, PLACE_ELSEWHERE };
int look_up(const char *name, enum place *place, struct chos_error *e);

/* enter.c, in a task: enter_prepare runs as root; enter runs as the user. On success the process is in the environment, its
 * policy is applied, and `s` says which it is. In either case the process has no capability afterwards. */
struct attempt {
    const char *name;    /* the last that was tried */
    bool fell_back;      /* after another one failed */
    struct chos_error first, second;
};
int enter_prepare(struct step *step, bool record, struct chos_error *e);
bool enter(struct step *step, const char *other, struct chos_session *s, struct attempt *a);

#endif
