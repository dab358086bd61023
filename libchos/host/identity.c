/* Becoming a user, in a process that root started. The kernel's answer counts: each id is looked at after it was set.
 *
 * Raw system calls, see host.h: the threads that libc would change, too, are the host's, or do not exist in this process.
 */
#include "host.h"

#include <errno.h>
#include <unistd.h>

/* Both ids, real, effective and saved. 0 or an errno. */
int identity_take_ids(const struct person *who)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    if (syscall(RAW_SETRESGID, who->gid, who->gid, who->gid) || syscall(RAW_SETRESUID, who->uid, who->uid, who->uid))
        return errno;
    bool is = getresuid(&ruid, &euid, &suid) == 0 && getresgid(&rgid, &egid, &sgid) == 0 && ruid == who->uid && euid == who->uid
        && suid == who->uid && rgid == who->gid && egid == who->gid && sgid == who->gid;
    return is && (who->uid == 0 || syscall(RAW_SETUID, 0) != 0) ? 0 : EPERM;
}

/* The groups, too. They come first, because only root may set them. */
int identity_take(const struct person *who)
{
    if (syscall(RAW_SETGROUPS, (size_t)who->count, who->groups))
        return errno;
    int err = identity_take_ids(who);
    return err != 0 ? err : getgroups(0, NULL) == who->count ? 0 : EPERM;
}
