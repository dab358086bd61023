/* What an entry does to the process besides moving it. */
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
