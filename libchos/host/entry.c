/* What both do around an entry. */
#include "host.h"

#include <errno.h>
#include <sys/personality.h>

/* `before` is what to go back to, or -1 where nothing was changed. */
int entry_personality(const struct chos_policy *policy, int *before, struct chos_error *e)
{
    *before = -1;
    if (policy->personality == 0)
        return 0;
    int now = personality(0xffffffff);
    if (now < 0 || personality((unsigned long)(now | (int)policy->personality)) < 0)
        return chos_fail(e, CHOS_SYSTEM, errno, "personality");
    *before = now;
    return 0;
}

/* Opened before, because inside root opens nothing. What is wrong with the settings keeps nobody out. */
void entry_record_open(struct chos_record *record)
{
    struct chos_jobs jobs;
    struct chos_error ignored;
    *record = (struct chos_record){-1, -1};
    if (chos_jobs_read(&jobs, &ignored) == 0)
        chos_record_open(record, &jobs, "");
}
