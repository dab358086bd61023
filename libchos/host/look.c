/* Looks a name up as entering would, and moves nobody: what it stands for, whether the caller may enter, whether it is there. */
#include "host.h"
#include "enter/enter.h"
#include "ns/ns.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 256 << 10 };
enum { TRIES = 16 };   /* how often an environment may be prepared anew while we look */

/* A pin that cannot be seen from here says nothing: whoever enters goes by way of the base. */
static int look_at_pin(struct chos_session *s, struct chos_error *e)
{
    struct chos_error missing;
    int fd = chos_pin_open(s, &missing);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    if (missing.reason == CHOS_RETIRED && (chos_registry_open(s, e) || chos_base_read(s, e)))
        return -1;
    if (missing.reason == CHOS_RETIRED && !chos_in_base(s))
        return 0;
    *e = missing;
    return -1;
}

static int look(struct chos_session *s, struct chos_error *e)
{
    if (chos_registry_open(s, e) || chos_backend_choose(s, e))
        return -1;
    for (int i = 0; i < TRIES; i++) {
        if (chos_find(s, e) == 0) {
            if (s->target.kind == CHOS_TO_BASE)
                return 0;
            if (s->permit != NULL && s->permit(s, s->context, e))
                return -1;
            if ((!chos_backend_is_pinned(s->backend) || look_at_pin(s, e) == 0) && chos_policy_read(s, e) == 0)
                return 0;
        }
        if (e->reason != CHOS_RETIRED || chos_registry_open(s, e))
            return -1;
    }
    return chos_fail(e, CHOS_RETIRED, 0, s->alias);
}

struct aside { struct chos_session *s; const char *alias; struct chos_error *e; int rc; };

static int look_aside_child(void *context)
{
    struct aside *aside = context;
    aside->rc = chos_choose(aside->s, aside->alias, aside->e) || look(aside->s, aside->e) ? -1 : 0;
    chos_registry_close(aside->s);
    _exit(0);
}

/* The working directory is one that this process could not go back to. So a child looks, which has one of its own, and
 * otherwise our memory; we wait meanwhile. It is made as in as_user.c: no signal, no handler of the host's, no descriptor. */
static int look_aside(struct chos_session *s, const char *alias, struct chos_error *e)
{
    static _Alignas(16) char stack[STACK];
    struct aside aside = {s, alias, e, -1};
    sigset_t all, before;
    (void)chos_fail(e, CHOS_STRANDED, 0, alias);   /* where the child says nothing */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone(look_aside_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK, &aside);
    int err = errno;
    while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
    sigprocmask(SIG_SETMASK, &before, NULL);
    s->held = false;
    return pid > 0 ? aside.rc : chos_fail(e, CHOS_SYSTEM, err, alias);
}

/* On return the process is where it was, whatever was found; CHOS_STRANDED: it is not, and must end. */
int chos_session_look(struct chos_session *s, const char *alias, chos_permit *permit, void *context, struct chos_error *e)
{
    struct chos_place place;
    struct chos_error stranded;
    chos_session_clear(s);
    s->permit = permit;
    s->context = context;
    if (chos_place_open(&place, e))
        return -1;
    if (place.cwd < 0) {
        chos_place_close(&place);
        return look_aside(s, alias, e);
    }
    int rc = chos_choose(s, alias, e) || look(s, e) ? -1 : 0;
    if (chos_place_return(&place, s->moved, &stranded)) {
        *e = stranded;
        rc = -1;
    }
    chos_registry_close(s);
    chos_place_close(&place);
    return rc;
}
