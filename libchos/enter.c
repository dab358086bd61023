/* Entering: the loop that finds a pin whose namespace can be entered, and the one call that enters it. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { TRIES = 16 };   /* how often an environment may be prepared anew while we enter it */

/* The registry that we see, or, where we see none, the base's. */
int chos_open(struct chos_session *s, struct chos_error *e)
{
    if (chos_registry_open(s, e) == 0)
        return 0;
    if (e->reason != CHOS_NO_REGISTRY)
        return -1;
    return chos_base_return(s, e);
}

static int enter_pin(struct chos_session *s, int fd, struct chos_error *e)
{
    int rc = chos_setns(fd, s->alias, e);
    close(fd);
    if (rc != 0)
        return -1;
    s->moved = true;
    return chos_root_is(&s->policy.root) ? 0 : chos_fail(e, CHOS_WRONG_ROOT, 0, s->alias);
}

/* Where the pin is not there, one of two things has happened: this namespace is younger than the pin, which
 * the base cures, or the generation was retired under our eyes, which looking again cures. */
int chos_enter(struct chos_session *s, struct chos_error *e)
{
    for (int i = 0; i < TRIES; i++) {
        if (chos_find(s, e) == 0) {
            if (s->target.kind == CHOS_TO_BASE) {
                if (chos_base_read(s, e))
                    return -1;
                return chos_in_base(s) ? 0 : chos_base_return(s, e);
            }
            int fd = chos_pin_open(s, e);
            if (fd >= 0)
                return enter_pin(s, fd, e);
        }
        if (e->reason != CHOS_RETIRED)
            return -1;
        if (chos_registry_open(s, e) || chos_base_read(s, e) || (!chos_in_base(s) && chos_base_return(s, e)))
            return -1;
    }
    return chos_fail(e, CHOS_RETIRED, 0, s->alias);
}

struct place { int ns, root, cwd; };

static int remember(struct place *p)
{
    p->ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    p->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    p->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return p->ns < 0 || p->root < 0 || p->cwd < 0 ? -1 : 0;
}

/* setns forgets a chroot that the process may have been in, so root and working directory are set too. */
static int go_back(const struct place *p, bool moved)
{
    if (moved && (setns(p->ns, CLONE_NEWNS) || fchdir(p->root) || chroot(".")))
        return -1;
    return fchdir(p->cwd);
}

int chos_session_enter(struct chos_session *s, const char *alias, struct chos_error *e)
{
    struct place place;
    memset(s, 0, sizeof *s);
    int rc = remember(&place);
    if (rc != 0)
        chos_fail(e, CHOS_SYSTEM, errno, "remembering this place");
    else if (chos_choose(s, alias, e) || chos_open(s, e) || chos_enter(s, e)) {
        rc = -1;
        if (chos_fault("back") || go_back(&place, s->moved))
            chos_fail(e, CHOS_STRANDED, errno, s->alias);
    } else if (chdir("/")) {   /* only where nothing moved us there */
        rc = chos_fail(e, CHOS_SYSTEM, errno, "/");
    }
    if (place.ns >= 0)
        close(place.ns);
    if (place.root >= 0)
        close(place.root);
    if (place.cwd >= 0)
        close(place.cwd);
    return rc;
}
