/* Privilege: three capabilities while an environment is entered, none afterwards. */
#include "chos.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SYS_CHROOT = 18, SYS_PTRACE = 19, SYS_ADMIN = 21,
    NEEDED = 1 << SYS_CHROOT | 1 << SYS_PTRACE | 1 << SYS_ADMIN,
    CAPABILITY_VERSION = 0x20080522,
};

#ifdef SYS_setuid32
#define RAW_SETUID SYS_setuid32
#else
#define RAW_SETUID SYS_setuid
#endif

struct header { uint32_t version; int pid; };
struct sets { uint32_t effective, permitted, inheritable; };

/* A caller that is root keeps its other capabilities permitted. The program that root executes would get them back anyway, but
 * not if no_new_privs is set, by a policy or by the kernel module. */
static int set_capabilities(uint32_t wanted, bool root)
{
    struct header header = {CAPABILITY_VERSION, 0};
    struct sets sets[2] = {{wanted, wanted, 0}, {0, 0, 0}}, had[2];
    if (root) {
        if (syscall(SYS_capget, &header, had))
            return -1;
        sets[0].permitted = had[0].permitted;
        sets[1].permitted = had[1].permitted;
    }
    return (int)syscall(SYS_capset, &header, sets);
}

/* Why chos has no privilege. CHOS_FOREIGN: it has capabilities, but not in the user namespace of the target. CHOS_CONFINED: we
 * are in an environment that nobody can leave. */
enum chos_reason chos_privs_missing(void)
{
    struct header header = {CAPABILITY_VERSION, 0};
    struct sets sets[2] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective & NEEDED) == NEEDED)
        return CHOS_FOREIGN;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return CHOS_NO_CAPABILITY;
    /* Only the choice of a message depends on this. A site with such a directory of its own gets the wrong message. */
    return access("/local" CHOS_REGISTRY "/base", F_OK) == 0 ? CHOS_CONFINED : CHOS_NO_NEW_PRIVS;
}

/* File capabilities give an ordinary user exactly these three. Then nothing has to be set, and the kernel need not make new
 * credentials. */
static bool has_exactly_needed(void)
{
    struct header header = {CAPABILITY_VERSION, 0};
    struct sets has[2];
    return syscall(SYS_capget, &header, has) == 0 && has[0].effective == NEEDED && has[0].permitted == NEEDED
        && (has[0].inheritable | has[1].effective | has[1].permitted | has[1].inheritable) == 0;
}

/* Whether we were started with file capabilities, set-uid root or by root: become the real user with exactly these three. If one is
 * missing, drop all; setns then fails and says why. */
int chos_privs_reduce(struct chos_error *e)
{
    uid_t uid = getuid();
    if (geteuid() != uid && (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setresuid(uid, uid, uid)))
        return chos_fail(e, CHOS_SYSTEM, errno, "setresuid");
    if (chos_fault("reduce")
        || (!has_exactly_needed() && set_capabilities(NEEDED, uid == 0) && set_capabilities(0, uid == 0)))
        return chos_fail(e, CHOS_SYSTEM, errno, "capset");
    return 0;
}

static int rest_as_root(struct chos_error *e)
{
    struct header header = {CAPABILITY_VERSION, 0};
    struct sets sets[2];
    memset(sets, 0xff, sizeof sets);
    if (set_capabilities(0, true) || syscall(SYS_capget, &header, sets) || sets[0].effective || sets[1].effective
        || sets[0].inheritable || sets[1].inheritable)
        return chos_fail(e, CHOS_KEPT_PRIVILEGE, errno, "capset");
    return 0;
}

/* Gives up everything, and then reads back from the kernel that it is gone. */
static int give_up(struct chos_error *e)
{
    struct header header = {CAPABILITY_VERSION, 0};
    struct sets sets[2];
    memset(sets, 0xff, sizeof sets);
    /* This also empties the ambient set: the kernel keeps it within permitted and inheritable, capabilities(7). */
    if (chos_fault("drop") || set_capabilities(0, false))
        return chos_fail(e, CHOS_KEPT_PRIVILEGE, errno, "capset");
    if (chos_fault("verify") || syscall(SYS_capget, &header, sets) || sets[0].effective || sets[0].permitted
        || sets[0].inheritable || sets[1].effective || sets[1].permitted || sets[1].inheritable)
        return chos_fail(e, CHOS_KEPT_PRIVILEGE, 0, "capget");
    if (chos_fault("setuid") || syscall(RAW_SETUID, 0) == 0)
        return chos_fail(e, CHOS_KEPT_PRIVILEGE, 0, "setuid");
    return 0;
}

int chos_privs_drop(bool no_new_privs, struct chos_error *e)
{
    if (getuid() == 0 ? rest_as_root(e) : give_up(e))
        return -1;
    if (no_new_privs && (chos_fault("no_new_privs") || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
        return chos_fail(e, CHOS_KEPT_PRIVILEGE, errno, "no_new_privs");
    return 0;
}
