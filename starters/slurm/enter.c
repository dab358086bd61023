/* A task enters an environment: may its user, then the one system call, then what the policy says.
 *
 * This is the task's own process, forked by slurmstepd, root still, with one thread; what follows in it is done as the
 * user. Once inside, nothing of the environment is opened here.
 */
#include "spank_chos.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The identity that the kernel judges files by; no other process can do more to us through it. */
static bool act_as(uid_t uid, gid_t gid, const gid_t *groups, int count)
{
    if (uid == 0)
        setfsuid(0);   /* first: it brings back the right to set the others */
    if (setgroups((size_t)count, groups))
        return false;
    setfsgid(gid);
    setfsuid(uid);
    return setfsuid((uid_t)-1) == (int)uid && setfsgid((gid_t)-1) == (int)gid;
}

/* Root may enter every directory, so root's own look says nothing: the user's identity tries what the launcher would
 * have tried, and the kernel answers, from mode, group and ACL. The registry is on a tmpfs; nothing can hang there.
 * The groups are those that the job will have. */
static int may_enter(const struct chos_session *s, void *context, struct chos_error *e)
{
    const struct person *who = context;
    int count = getgroups(0, NULL), fd = -1, err = 0;
    gid_t *own = count < 0 ? NULL : calloc((size_t)count + 1, sizeof *own), gid = getegid();
    if (own == NULL || getgroups(count, own) != count || (prctl(PR_GET_SECUREBITS) & SECBIT_NO_SETUID_FIXUP) != 0) {
        free(own);
        return chos_fail(e, CHOS_SYSTEM, errno, "acting as the user");
    }
    if (act_as(who->uid, who->gid, who->groups, who->count)) {
        fd = chos_openat2("policy", O_RDONLY, RESOLVE_STRICT);
        err = errno;
    }
    bool back = act_as(0, gid, own, count);
    free(own);
    if (fd >= 0)
        close(fd);
    if (!back)
        return chos_fail(e, CHOS_STRANDED, 0, "acting as the user");
    if (fd >= 0)
        return 0;
    return err == ENOENT ? chos_fail(e, CHOS_RETIRED, 0, s->alias)
        : chos_fail(e, CHOS_DENIED, err == EACCES ? 0 : err, s->alias);
}

static int apply(const struct chos_policy *policy, struct chos_error *e)
{
    int before;
    if (entry_personality(policy, &before, e))
        return -1;
    if (policy->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return chos_fail(e, CHOS_SYSTEM, errno, "no_new_privs");
    return 0;
}

/* slurmd's spool directory has to be the base's inside, and only the bind map can see to that. */
static int find_script(const char *script, struct chos_error *e)
{
    if (script == NULL || access(script, F_OK) == 0)
        return 0;
    chos_fail(e, CHOS_SYSTEM, 0, script);
    e->message = "the batch script is not in this environment";
    e->hint = "an administrator adds slurmd's spool directory to `share` of the bind map, see bindmap(5); for the"
        " backend kmod, makes a link to it in the tree, by way of /local";
    return -1;
}

int enter(const struct step *step, const char *name, bool record, struct chos_session *s, struct chos_error *e)
{
    struct chos_record places = {-1, -1};
    if (record)
        chos_record_open(&places, &step->settings, "");
    if (chos_session_enter(s, name, may_enter, (void *)&step->who, e) || find_script(step->script, e)
        || apply(&s->policy, e)) {
        chos_record_close(&places);
        return -1;
    }
    chos_record_write(&places, &(struct chos_entry){step->who.uid, step->user, name, s->target.name, "slurm", step->job});
    return 0;
}
