/* The groups of an account, however many, as this node's name services give them. */
#include "host.h"

#include <grp.h>
#include <stdlib.h>

enum { GROUPS = 64, GROUPS_LIMIT = 65536 };

/* 0, and a list that the caller frees; or -1. Not in a child of a process that may have threads: it uses the heap. */
int groups_of(const char *name, gid_t gid, gid_t **found, int *count)
{
    int room = GROUPS;
    gid_t *groups = NULL, *more;
    while (room <= GROUPS_LIMIT && (more = realloc(groups, (size_t)room * sizeof *groups)) != NULL) {
        groups = more;
        *count = room;
        if (getgrouplist(name, gid, groups, count) >= 0) {
            *found = groups;
            return 0;
        }
        room = *count > room ? *count : room * 2;
    }
    free(groups);
    return -1;
}
