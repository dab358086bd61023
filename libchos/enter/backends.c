/* The backends: one row each in the list below. What else knows their names is the Python that prepares for them.
 *
 * Here the parts of the floors below are put together: what has to be left before the registry can be seen, how to get to the
 * base, and how a generation is entered.
 */
#include "enter/enter.h"
#include "kmod/kmod.h"
#include "ns/ns.h"
#include "registry/registry.h"

#include <string.h>
#include <unistd.h>

/* Inside the module's root directory the registry is not visible, because no bind shows it; then we leave that. */
int chos_registry_open(struct chos_session *s, struct chos_error *e)
{
    if (chos_registry_find(s, e) == 0)
        return 0;
    if (e->reason != CHOS_NO_REGISTRY || !chos_backend_inside())
        return -1;
    s->from_environment = s->moved = true;
    return chos_backend_leave(e) || chos_registry_find(s, e) ? -1 : 0;
}

int chos_base_return(struct chos_session *s, struct chos_error *e)
{
    if (chos_ns_return(s, e) || chos_registry_open(s, e))
        return -1;
    return chos_root_is(&s->base.root) ? 0 : chos_fail(e, CHOS_WRONG_ROOT, 0, "the base");
}

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

/* Number, name, whether its generations are pinned, how to enter, whether a process is below a root directory of its making, and
 * how to leave that. A list and no array, for the same reason as in sys/error.c: pointers would be relocated at each start. */
#define BACKENDS(ROW) \
    ROW(0, "ns", true, enter_ns(s, inside, e), false, 0) \
    ROW(1, "kmod", false, enter_kmod(s, inside, e), chos_kmod_inside(), chos_kmod_leave(e))

/* NULL after the last one. */
const char *chos_backend_name(int backend)
{
#define AS_NAME(NUMBER, NAME, PINNED, ENTER, INSIDE, LEAVE) case NUMBER: return NAME;
    switch (backend) {
    BACKENDS(AS_NAME)
    default: return NULL;
    }
}

bool chos_backend_is_pinned(int backend)
{
#define AS_PINNED(NUMBER, NAME, PINNED, ENTER, INSIDE, LEAVE) || ((PINNED) && backend == (NUMBER))
    return false BACKENDS(AS_PINNED);
}

int chos_backend_enter(struct chos_session *s, bool *inside, struct chos_error *e)
{
#define AS_ENTER(NUMBER, NAME, PINNED, ENTER, INSIDE, LEAVE) case NUMBER: return ENTER;
    switch (s->backend) {
    BACKENDS(AS_ENTER)
    default: return chos_fail(e, CHOS_NO_BACKEND, 0, s->alias);
    }
}

bool chos_backend_inside(void)
{
#define AS_INSIDE(NUMBER, NAME, PINNED, ENTER, INSIDE, LEAVE) || (INSIDE)
    return false BACKENDS(AS_INSIDE);
}

/* Nothing to do where we are inside none. */
int chos_backend_leave(struct chos_error *e)
{
#define AS_LEAVE(NUMBER, NAME, PINNED, ENTER, INSIDE, LEAVE) || ((INSIDE) && (LEAVE))
    (void)e;
    return false BACKENDS(AS_LEAVE) ? -1 : 0;
}

/* Its number, or -1. */
int chos_backend_named(const char *name, size_t len)
{
    const char *known;
    for (int i = 0; (known = chos_backend_name(i)) != NULL; i++) {
        if (strlen(known) == len && strncmp(known, name, len) == 0)
            return i;
    }
    return -1;
}

static bool is_item(const char *list, const char *word, size_t len)
{
    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',') {
        if (strcspn(list, ",") == len && strncmp(list, word, len) == 0)
            return true;
    }
    return false;
}

/* Chooses from the node's list, for example "ns,kmod": `wanted` if it is in the list, or the first for NULL and `auto`.
 * -1: it is not in the list. */
int chos_backend_parse(const char *backends, const char *wanted)
{
    if (wanted == NULL || strcmp(wanted, "auto") == 0)
        wanted = backends;
    size_t len = strcspn(wanted, ",");
    return is_item(backends, wanted, len) ? chos_backend_named(wanted, len) : -1;
}

int chos_backend_choose(struct chos_session *s, struct chos_error *e)
{
    s->backend = chos_backend_parse(s->backends, s->wanted);
    return s->backend >= 0 ? 0 : chos_fail(e, CHOS_NO_BACKEND, 0, s->wanted != NULL ? s->wanted : s->backends);
}
