/* Entering: the loop that finds a pin whose namespace can be entered, and the one call that enters it. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { TRIES = 16 };   /* how often an environment may be prepared again while we enter it */

static int permitted(const struct chos_session *s, struct chos_error *e)
{
    return s->permit != NULL ? s->permit(s, s->context, e) : 0;
}

/* A process may be stopped for weeks between finding a generation and being inside. So everything that decides is checked
 * inside: the policy (which is not read before), whether the name still leads here, and whether the user may still enter. The
 * kernel decides the last point, because reading the name goes through the generation's directory; for root, `permit` does. */
static int look_again(struct chos_session *s, struct chos_error *e)
{
    if (s->permit != NULL && (chos_generation_check(s, e) || permitted(s, e)))
        return -1;
    return chos_still_leads_here(s, e);
}

static int enter_ns(struct chos_session *s, bool *inside, struct chos_error *e)
{
    int fd = permitted(s, e) ? -1 : chos_pin_open(s, e);
    if (fd < 0)
        return -1;
    int rc = chos_setns(fd, s->alias, e);
    close(fd);
    if (rc != 0)
        return -1;
    s->moved = *inside = true;
    if (chos_policy_read(s, e))
        return -1;
    return chos_root_is(&s->policy.root) ? look_again(s, e) : chos_fail(e, CHOS_WRONG_ROOT, 0, s->alias);
}

/* chos.ko accepts callers from the base namespace only: return there, resolve the name again, then enter. If the check
 * inside fails, the process is taken out again, because its host continues, and may print a message. */
static int enter_kmod(struct chos_session *s, bool *inside, struct chos_error *e)
{
    struct chos_error stuck;
    if (chos_registry_open(s, e) || chos_base_read(s, e) || (!chos_in_base(s) && chos_base_return(s, e)) || chos_find(s, e))
        return -1;
    if (s->target.kind == CHOS_TO_BASE)
        return chos_fail(e, CHOS_RETIRED, 0, s->alias);
    if (permitted(s, e) || chos_kmod_enter(s, e))
        return -1;
    *inside = true;
    if (chos_policy_read(s, e) == 0 && look_again(s, e) == 0)
        return 0;
    return chos_kmod_leave(&stuck) ? chos_fail(e, CHOS_STRANDED, stuck.err, s->alias) : -1;
}

static int enter_base(struct chos_session *s, struct chos_error *e)
{
    if (chos_base_read(s, e))
        return -1;
    return chos_in_base(s) ? 0 : chos_base_return(s, e);
}

/* Tries again after a failure that another attempt can cure. CHOS_RETIRED has three causes:
 * - another generation was published, which we noticed only inside: the registry that we have open shows the new one;
 * - the pin is not visible because this namespace was made before it: return to the base;
 * - the generation was retired after we found it: look again.
 * Also, a generation may be closed, or a tree removed from the module's list, because there is a newer generation. */
static int enter(struct chos_session *s, struct chos_error *e)
{
    for (int i = 0; i < TRIES; i++) {
        bool inside = false;   /* or have been */
        if (chos_find(s, e) == 0) {
            int rc = s->target.kind == CHOS_TO_BASE ? enter_base(s, e)
                : s->backend == CHOS_KMOD ? enter_kmod(s, &inside, e) : enter_ns(s, &inside, e);
            if (rc == 0)
                return 0;
        }
        if ((e->reason == CHOS_DENIED || e->reason == CHOS_NO_MODULE) && chos_leads_elsewhere(s))
            continue;
        if (e->reason != CHOS_RETIRED)
            return -1;
        if (!inside && (chos_registry_open(s, e) || chos_base_read(s, e) || (!chos_in_base(s) && chos_base_return(s, e))))
            return -1;
    }
    return chos_fail(e, CHOS_RETIRED, 0, s->alias);
}

int chos_enter(struct chos_session *s, struct chos_error *e)
{
    int rc = enter(s, e);
    chos_registry_close(s);
    return rc;
}

int chos_place_open(struct chos_place *p, struct chos_error *e)
{
    p->ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    p->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    p->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* even root may not open the working directory: on NFS with root_squash */
    if (p->ns >= 0 && p->root >= 0 && (p->cwd >= 0 || errno == EACCES)) {
        chos_kmod_tree(p->tree);
        return 0;
    }
    chos_fail(e, CHOS_SYSTEM, errno, "remembering this place");
    chos_place_close(p);
    return -1;
}

/* setns also resets a chroot in which the process may have been, so root and working directory are set too. */
int chos_place_return(const struct chos_place *p, bool moved, struct chos_error *e)
{
    if (moved && chos_kmod_inside() && chos_kmod_leave(e))
        return chos_fail(e, CHOS_STRANDED, e->err, "the place where this process was");
    if (chos_fault("back") || (moved && (setns(p->ns, CLONE_NEWNS) || fchdir(p->root) || chroot("."))))
        return chos_fail(e, CHOS_STRANDED, errno, "the place where this process was");
    if ((moved && p->tree[0] != '\0' && chos_kmod_again(p->tree, e)) || (p->cwd < 0 ? chdir("/") : fchdir(p->cwd)))
        return chos_fail(e, CHOS_STRANDED, errno, "the place where this process was");
    return 0;
}

void chos_place_close(struct chos_place *p)
{
    int *fds[] = {&p->ns, &p->root, &p->cwd};
    for (int i = 0; i < 3; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/* Resets the session, but keeps the room that it made. */
void chos_session_clear(struct chos_session *s)
{
    char *more = s->more;
    memset(s, 0, sizeof *s);
    s->more = more;
}

int chos_session_enter(struct chos_session *s, const char *alias, chos_permit *permit, void *context, struct chos_error *e)
{
    struct chos_place place;
    struct chos_error stranded;
    chos_session_clear(s);
    s->permit = permit;
    s->context = context;
    if (chos_place_open(&place, e))
        return -1;
    int rc = chos_choose(s, alias, e) || chos_registry_open(s, e) || chos_backend_choose(s, e) || chos_enter(s, e) ? -1 : 0;
    if (rc == 0 && chdir("/"))   /* only if we were not moved there */
        rc = chos_fail(e, CHOS_SYSTEM, errno, "/");
    if (rc != 0 && chos_place_return(&place, s->moved, &stranded))
        *e = stranded;
    chos_registry_close(s);
    chos_place_close(&place);
    return rc;
}
