/* What the modules of spank_chos.so share. */
#ifndef SPANK_CHOS_H
#define SPANK_CHOS_H

#include "host.h"

#pragma GCC visibility push(default)
#include <slurm/slurm.h>
#include <slurm/spank.h>
#pragma GCC visibility pop

enum { MESSAGE = 1500, FAILED = 125 };

/* What is carried from who submits to the tasks. Slurm hands on a batch job's options as variables of other names, and
 * --export=NONE loses those like any variable; SLURM_* always passes. */
#define CARRIED_OPTION "SLURM_CHOS_OPTION"
#define CARRIED_VARIABLE "SLURM_CHOS"

/* The words behind `spank_chos.so` in plugstack.conf; and what `--chos=` said, empty where nobody said it. */
struct plugin {
    struct choice choice;
    bool submit_check;
    const char *wrong;      /* the first option that is none */
    char asked[CHOS_NAME_SIZE];
};

/* A name, and who chose it. */
struct wish {
    enum { BY_NOBODY, BY_OPTION, BY_VARIABLE, BY_FILE } source;
    char name[CHOS_NAME_SIZE];
};

/* What all tasks of a step on this node have in common. */
struct step {
    struct person who;
    const char *user;           /* the account's name, NULL where nobody knows it */
    const char *script;         /* of a batch job: what will be executed, else NULL */
    char job[64];
    struct wish wish;
    char said[CHOS_NAME_SIZE], generation[CHOS_NAME_SIZE];   /* what $CHOS and $CHOS_GENERATION of the tasks are already */
    char trouble[MESSAGE];      /* why no task of it can run; empty where they can */
    struct chos_jobs settings;
    /* Of one task: what its first hook decided, for the second. */
    enum { UNDECIDED, STAYS, ENTERS } decision;
    struct chos_record records;
};

/* step.c: before the tasks are made, in a process that has threads */
void step_begin(spank_t spank, const struct plugin *plugin, struct step *step);

/* lookup.c: whether there is such an environment on this host, and what it is; the process stays where it is. */
enum place { PLACE_HERE, PLACE_ELSEWHERE };
int look_up(const char *name, enum place *place, struct chos_error *e);

/* enter.c, in a task: as root; then as the user, when on success it is in the environment, with its policy, and `s` says
 * which. Either way the process has no capability any more. */
struct attempt {
    const char *name;    /* the last that was tried */
    bool fell_back;      /* after another one */
    struct chos_error first, second;
};
int enter_prepare(struct step *step, bool record, struct chos_error *e);
bool enter(struct step *step, const char *other, struct chos_session *s, struct attempt *a);

#endif
