/* Entering: the loop that finds a generation which can be entered, and the place to go back to. */
#include "enter/enter.h"
#include "kmod/kmod.h"
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { TRIES = 16 };   /* how often an environment may be prepared again while we enter it */

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
                : chos_backend_enter(s, &inside, e);
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
    if (moved && chos_backend_leave(e))
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
