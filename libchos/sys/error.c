/* Every message of libchos and the launcher, and the small text builder that prints them.
 *
 * A message has four parts: the object, what is wrong, the text of errno, and what to do next. No stdio,
 * because this is called while privilege is held. Text that a user may have typed is escaped.
 */
#include "chos.h"

#include <errno.h>
#include <string.h>

/* A list and no table: pointers in a table would be relocated at each start of the launcher, on a page that is then its own. */
#define REASONS(ROW) \
    ROW(CHOS_SYSTEM, 125, "failed", "") \
    ROW(CHOS_UNSET, 125, "is not set", "choose an environment: env CHOS=NAME chos ...; `chosctl list` shows them") \
    ROW(CHOS_ILLEGAL, 125, "not a legal environment name", \
        "at most 64 letters, digits, `.`, `_` and `-`, or the absolute path of an OS tree that is offered here") \
    ROW(CHOS_UNKNOWN, 125, "no such environment on this node", "`chosctl list` shows what you may enter") \
    ROW(CHOS_NOT_PREPARED, 125, "could not be prepared on this node", "an administrator must correct this and run `chosctl up`") \
    ROW(CHOS_DENIED, 125, "the administrator has not allowed you to enter this environment", \
        "`chosctl list` shows what you may enter") \
    ROW(CHOS_NO_REGISTRY, 125, "no environment is prepared on this node, or the base cannot be reached from here", \
        "an administrator runs `chosctl up`") \
    ROW(CHOS_UNSAFE, 125, "must belong to root and be writable by nobody else, so it is not trusted", \
        "in a rootless container this is normal; on the node itself somebody has changed it") \
    ROW(CHOS_CORRUPT, 125, "is damaged, or was written by another version of CHOS, so it is not used", \
        "an administrator must run `chosctl up`, which writes it again") \
    ROW(CHOS_RETIRED, 125, "the prepared environment is gone", "try again; if it stays so, an administrator runs " \
        "`chosctl up`") \
    ROW(CHOS_WRONG_ROOT, 125, "the namespace does not contain what the registry says", \
        "an administrator must run `chosctl up`, which prepares it again") \
    ROW(CHOS_NO_CAPABILITY, 125, "chos has lost its capabilities: was it copied, is it on a nosuid mount, or traced by a debugger?", \
        "an administrator runs `setcap cap_sys_admin,cap_sys_chroot,cap_sys_ptrace+ep` on the installed chos") \
    ROW(CHOS_NO_NEW_PRIVS, 125, "no_new_privs is set for this process, so the kernel gives chos no capabilities", \
        "a container, a systemd service with NoNewPrivileges= or a program such as setpriv set it, for good: " \
        "run chos outside of that") \
    ROW(CHOS_CONFINED, 125, "no_new_privs is set in this environment (its OS tree is foreign, or its policy says so), so chos " \
        "cannot go from here to another environment or back to the base", \
        "end this session and start a new one, with another name in CHOS or ~/.chos; an administrator who trusts the " \
        "tree as the base sets trust = \"site\", see chos.toml(5)") \
    ROW(CHOS_FOREIGN, 125, "the kernel refuses: this is a user namespace (a rootless container?) or a security " \
        "module forbids it", "run chos outside of the container") \
    ROW(CHOS_THREADS, 125, "the kernel refuses: a process with several threads cannot change its mount namespace", \
        "enter the environment in a process of its own") \
    ROW(CHOS_OLD_KERNEL, 125, "the kernel has no openat2 or setns", "CHOS needs Linux 5.12 or later") \
    ROW(CHOS_KEPT_PRIVILEGE, 125, "could not give up its privilege, so nothing was executed", "please report this") \
    ROW(CHOS_STRANDED, 125, "could not return to the place where this process was", "the process must end") \
    ROW(CHOS_NO_WAY_BACK, 125, "neither process 1 nor an ancestor of this one is in the base", \
        "in a container this is normal; else start chos from a process of the node itself") \
    ROW(CHOS_NO_BACKEND, 125, "no environment is prepared for this backend on this node", \
        "leave out --backend= to use the node's default; an administrator may run `chosctl up --backend=NAME`") \
    ROW(CHOS_NO_MODULE, 125, "the kernel module does not allow this OS tree, or is not loaded", \
        "an administrator runs `chosctl up --backend=kmod`") \
    ROW(CHOS_USAGE, 125, "unknown option, or an argument is missing", "`chos --help` shows how to call it") \
    ROW(CHOS_USER_FILE, 125, "cannot be read, or does not begin with the name of an environment", \
        "write one name into it, or remove it; `chosctl list` shows what you may enter") \
    ROW(CHOS_NOT_FOUND, 127, "command not found in this environment", "is it installed in the OS tree, and in PATH?") \
    ROW(CHOS_NOT_INSIDE, 127, "is there, but its interpreter or loader is not in this environment", \
        "was it built for another OS?") \
    ROW(CHOS_NOT_EXECUTABLE, 126, "cannot be executed", "") \
    ROW(CHOS_NO_SHELL, 127, "your login shell is not in this environment", \
        "install it in the OS tree, or name a command: chos /bin/sh")

static void say(struct chos_error *e, enum chos_reason reason)
{
#define AS_CASE(REASON, CODE, MESSAGE, HINT) case REASON: e->code = (CODE), e->message = (MESSAGE), e->hint = (HINT); return;
    switch (reason) {
    REASONS(AS_CASE)
    case CHOS_REASONS: return;
    }
}

/* EMFILE says nothing about the object, only that we have no free descriptor. So it replaces the caller's reason. */
int chos_fail(struct chos_error *e, enum chos_reason reason, int err, const char *object)
{
    struct chos_text t = {e->object, sizeof e->object, 0};
    if (err == EMFILE && reason != CHOS_STRANDED && reason != CHOS_KEPT_PRIVILEGE)
        reason = CHOS_SYSTEM;
    e->reason = reason;
    e->err = err;
    say(e, reason);
    if (err == EMFILE)
        e->hint = "too few files may be open: raise the limit (`ulimit -n`)";
    e->detail[0] = '\0';
    chos_put(&t, object);
    return -1;
}

/* "OBJECT: message: detail (errno's text)\n      hint\n" */
void chos_error_text(const struct chos_error *e, struct chos_text *t)
{
    chos_put_safe(t, e->object);
    chos_put(t, ": ");
    chos_put(t, e->message);
    if (e->detail[0] != '\0') {
        chos_put(t, ": ");
        chos_put_safe(t, e->detail);
    }
    if (e->err != 0) {
        chos_put(t, " (");
        chos_put(t, strerror(e->err));
        chos_put(t, ")");
    }
    chos_put(t, e->hint[0] ? "\n      " : "");
    chos_put(t, e->hint);
    chos_put(t, "\n");
}

static void put_bytes(struct chos_text *t, const char *s, size_t n)
{
    size_t room = t->size - t->len - 1;
    if (n > room)
        n = room;
    memcpy(t->buf + t->len, s, n);
    t->len += n;
    t->buf[t->len] = '\0';
}

void chos_put(struct chos_text *t, const char *s)
{
    put_bytes(t, s, strlen(s));
}

/* Everything except printable ASCII becomes \xHH, so that a name cannot send control sequences to a terminal. */
void chos_put_safe(struct chos_text *t, const char *s)
{
    static const char hex[] = "0123456789abcdef";
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        char code[] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
        if (c >= ' ' && c < 0x7f && c != '\\')
            put_bytes(t, s, 1);
        else
            put_bytes(t, code, sizeof code);
    }
}

void chos_put_number(struct chos_text *t, uint64_t number)
{
    char digits[21], *p = digits + sizeof digits - 1;
    *p = '\0';
    do
        *--p = (char)('0' + number % 10);
    while (number /= 10);
    chos_put(t, p);
}

#ifdef CHOS_FAULT
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

bool chos_fault(const char *step)
{
    const char *wanted = getenv("CHOS_FAULT"), *stop = getenv("CHOS_STOP");
    if (stop != NULL && strcmp(stop, step) == 0)
        (void)kill(getpid(), SIGSTOP);
    bool hit = wanted != NULL && strcmp(wanted, step) == 0;
    if (hit)
        errno = EIO;
    return hit;
}
#endif
