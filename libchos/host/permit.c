/* What a process that is root asks the kernel as somebody else: whether that user may enter, or have a working directory.
 *
 * Root may enter every directory, so root's own look says nothing. The kernel judges files by the file system's user and
 * group ids and by the groups, which are a thread's own, and by which nobody may signal or trace us. The calls
 * are raw, because libc's would change the host's other threads.
 */
#include "host.h"
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

struct before { gid_t gid; gid_t *groups; int count, dumpable; };

static bool act_as(uid_t uid, gid_t gid, const gid_t *groups, int count)
{
    if (uid == 0)
        setfsuid(0);   /* first: it brings back the right over files */
    if (syscall(RAW_SETGROUPS, (size_t)count, groups))
        return false;
    setfsgid(gid);
    setfsuid(uid);
    return setfsuid((uid_t)-1) == (int)uid && setfsgid((gid_t)-1) == (int)gid;
}

enum begun { BEGUN, NOT_BEGUN, LOST };   /* LOST: neither the user nor what it was */

/* Where file system ids do not take the rights over files along, root would be asked instead of the user. */
static enum begun begin(const struct person *who, struct before *b)
{
    *b = (struct before){.gid = getegid(), .count = getgroups(0, NULL), .dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)};
    b->groups = b->count < 0 ? NULL : calloc((size_t)b->count + 1, sizeof *b->groups);
    if (b->groups == NULL || getgroups(b->count, b->groups) != b->count || geteuid() != 0
        || (prctl(PR_GET_SECUREBITS) & SECBIT_NO_SETUID_FIXUP) != 0) {
        free(b->groups);
        return NOT_BEGUN;
    }
    if (act_as(who->uid, who->gid, who->groups, who->count))
        return BEGUN;
    bool back = act_as(0, b->gid, b->groups, b->count);
    free(b->groups);
    return back ? NOT_BEGUN : LOST;
}

static bool end(struct before *b)
{
    bool back = act_as(0, b->gid, b->groups, b->count);
    free(b->groups);
    if (b->dumpable == 1)
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return back;
}

/* A chos_permit: `context` is a struct person. What the launcher would have tried is tried, and the kernel answers, from
 * mode, group and ACL of the generation. The registry is on a tmpfs; nothing can hang there. */
int permit_person(const struct chos_session *s, void *context, struct chos_error *e)
{
    struct before before;
    enum begun begun = begin(context, &before);
    if (begun != BEGUN)
        return chos_fail(e, begun == LOST ? CHOS_STRANDED : CHOS_SYSTEM, errno, "asking as the user");
    int fd = chos_generation_open(s, "/policy"), err = errno;
    bool back = end(&before);
    if (fd >= 0)
        close(fd);
    if (!back)
        return chos_fail(e, CHOS_STRANDED, 0, "asking as the user");
    if (fd >= 0)
        return 0;
    return err == ENOENT ? chos_fail(e, CHOS_RETIRED, 0, s->alias)
        : chos_fail(e, CHOS_DENIED, err == EACCES ? 0 : err, s->alias);
}

/* To `path` where the user may go there; otherwise the working directory stays. False: this process cannot go on. */
bool change_directory_as(const struct person *who, const char *path)
{
    struct before before;
    enum begun begun = begin(who, &before);
    if (begun != BEGUN)
        return begun != LOST;
    (void)!chdir(path);
    return end(&before);
}
