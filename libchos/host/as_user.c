/* Runs a question with the user's rights: a child takes the user's full identity, sends one answer, and ends.
 *
 * The child runs no code of the user's, and the user cannot read or change its memory: the kernel makes a process that
 * changes its uid undumpable, and it stays so. This matters because its memory is a copy of the host's (sshd's contains
 * keys). All signals are blocked, so no handler of the host runs; the child leaves by _exit. The user can stop or kill it, or
 * let the home directory hang. So there is a time limit, and no answer counts as a refusal.
 *
 * The child has no exit signal: the host gets no SIGCHLD, a host that ignores or handles SIGCHLD does not reap it, and a
 * host that waits for "any child" does not see it. Its descriptors are closed: a child that waits for a dead server cannot be
 * killed, and must not keep anybody's connection open.
 */
#include "host.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { PIDFD = 3 /* P_PIDFD */, DYING_MS = 200, MS = 1000 };

/* What goes through the socket, as one message. */
struct wire { int32_t err; char bytes[ANSWER_MAX]; };
enum { WIRE_HEAD = sizeof(int32_t) };

union control { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; };

static int become(const struct person *who)
{
    struct chos_error e;
    int err = identity_take(who);
    if (err != 0)
        return err;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
        return errno;
    return chos_privs_drop(true, &e) ? EPERM : 0;
}

static void send_answer(int fd, const struct answer *answer)
{
    struct wire wire = {.err = answer->err};
    union control control;
    struct iovec part = {&wire, WIRE_HEAD + answer->len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    memcpy(wire.bytes, answer->bytes, answer->len);
    if (answer->fd >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &answer->fd, sizeof(int));
    }
    (void)sendmsg(fd, &message, MSG_NOSIGNAL);   /* if it fails, the missing answer counts as a refusal */
}

_Noreturn static void child(int fd, const struct person *who, question *ask, const void *context)
{
    struct answer answer = {.fd = -1};
    if ((fd > 0 && syscall(SYS_close_range, 0U, (unsigned)fd - 1, 0U)) || syscall(SYS_close_range, (unsigned)fd + 1, ~0U, 0U))
        _exit(1);
    answer.err = become(who);
    if (answer.err == 0)
        ask(context, &answer);
    send_answer(fd, &answer);
    _exit(0);
}

/* The message may be hostile. Its length is checked, and it is treated as bytes only. */
static int receive_answer(int fd, struct answer *answer)
{
    struct wire wire;
    union control control;
    struct iovec part = {&wire, sizeof wire};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&answer->fd, CMSG_DATA(c), sizeof(int));
    if (n < WIRE_HEAD || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return EPROTO;
    answer->err = wire.err;
    answer->len = (size_t)n - WIRE_HEAD;
    memcpy(answer->bytes, wire.bytes, answer->len);
    return 0;
}

/* Polls until there is something to read, and continues after signals to the host. */
static int await(int fd, int ms)
{
    struct timespec now, end;
    struct pollfd p = {fd, POLLIN, 0};
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (int left = ms; left >= 0;) {
        int n = poll(&p, 1, left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return errno;
        clock_gettime(CLOCK_MONOTONIC, &now);
        int gone = (int)((now.tv_sec - end.tv_sec) * MS + (now.tv_nsec - end.tv_nsec) / 1000000);
        left = n == 0 ? -1 : ms - gone;
    }
    return ETIMEDOUT;
}

/* Kills this child only, by its descriptor. If it does not die because it waits for a server, it stays until the host ends. */
static void end_child(int pidfd)
{
    siginfo_t info;
    (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    (void)await(pidfd, DYING_MS);
    (void)waitid((idtype_t)PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | __WALL);
    close(pidfd);
}

/* 0 and the answer, or an errno: ETIMEDOUT, EPROTO (the child ended without an answer), or that of a failed call. */
int as_user(const struct person *who, question *ask, const void *context, int timeout, struct answer *answer)
{
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } how = {.flags = CLONE_PIDFD};
    int pidfd = -1, ends[2];
    sigset_t all, before;
    *answer = (struct answer){.fd = -1};
    how.pidfd = (uint64_t)(uintptr_t)&pidfd;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
        return errno;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    long pid = syscall(SYS_clone3, &how, sizeof how);
    if (pid == 0)
        child(ends[1], who, ask, context);
    int err = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    if (pid > 0) {
        err = await(ends[0], timeout * MS);
        if (err == 0)
            err = receive_answer(ends[0], answer);
        end_child(pidfd);
    }
    close(ends[0]);
    if (err != 0 && answer->fd >= 0) {
        close(answer->fd);
        answer->fd = -1;
    }
    return err;
}
