/* The state of the false kernel: what is on the node, and where the process is. */
#ifndef WORLD_H
#define WORLD_H

#include <stdbool.h>

enum { BASE = 1, PRIVATE = 2, FIRST_NS = 10, GENERATIONS = 400 };
enum { BASE_ROOT = 100, FIRST_ROOT = 1000, TREE_ROOT = 2000 };
enum { HOME = 1, ROOT_DIRECTORY = 2 };   /* working directories */

struct generation { bool there, closed, tight, known; };   /* known: the module knows its tree */

extern struct world {
    const char *backends;
    struct generation generation[GENERATIONS];   /* el9.1 and so on */
    int current;                 /* which of them el9 leads to */
    bool gone;                   /* el9 leads nowhere */
    bool root;                   /* the kernel lets the caller into each directory */
    bool module, seen_from_private;
    int room;                    /* how many descriptors are free */
    int calls, event_at, fail_at, fail_with;
    void (*event)(void);         /* happens beside call number `event_at` */
    int policy_read, looked;     /* the numbers of the last calls that looked */
} world;

extern struct process { int ns, tree; long root; int cwd; } process;

/* A process in this namespace, below this tree of the module's (-1: none), with nothing in its way. */
void world_begin(int ns, int tree);
int open_files(void);

#endif
