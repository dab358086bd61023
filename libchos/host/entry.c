/* The part of a policy that changes the process itself: its personality. */
#include "host.h"

#include <errno.h>
#include <sys/personality.h>

/* `before` becomes the old personality, to be restored on failure, or -1 if nothing was changed. */
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
