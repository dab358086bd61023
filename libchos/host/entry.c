/* The part of a policy that changes the process itself. The launcher has the same in run.c. */
#include "host.h"

#include <errno.h>
#include <sys/personality.h>
#include <sys/prctl.h>

/* no_new_privs comes last, because it cannot be undone. late_drop has set it already; setting it again changes nothing. */
int entry_apply(const struct chos_policy *policy, struct chos_error *e)
{
    int now = policy->personality != 0 ? personality(0xffffffff) : 0;
    if (now < 0 || (policy->personality != 0 && personality((unsigned long)(now | (int)policy->personality)) < 0))
        return chos_fail(e, CHOS_SYSTEM, errno, "personality");
    if (policy->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return chos_fail(e, CHOS_SYSTEM, errno, "no_new_privs");
    return 0;
}
