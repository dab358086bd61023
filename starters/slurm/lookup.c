/* Looks a name up in this host's registry, with the rights of this process. The process stays where it is. */
#include "spank_chos.h"
#include "enter/enter.h"
#include "registry/registry.h"

#include <errno.h>
#include <unistd.h>

/* `root` means the place where jobs run without chos: slurmd's namespace, which may have its own mounts (PrivateTmp, a job's
 * /tmp). If slurmd itself was started in an environment, its tasks must leave that. */
static int find(struct chos_session *s, const char *name, enum place *place, struct chos_error *e)
{
    *place = PLACE_ELSEWHERE;
    if (chos_choose(s, name, e) || chos_registry_open(s, e) || chos_base_read(s, e) || chos_find(s, e))
        return -1;
    if (s->target.kind == CHOS_TO_BASE && chos_root_is(&s->base.root))
        *place = PLACE_HERE;
    return 0;
}

int look_up(const char *name, enum place *place, struct chos_error *e)
{
    struct chos_session s = {.alias = name};
    struct chos_place here;
    struct chos_error stranded;
    /* Inside the module's root directory the registry is not visible, and a look-up must not leave that directory. */
    if (geteuid() != 0 && chos_backend_inside())
        return chos_fail(e, CHOS_NO_REGISTRY, 0, name);
    if (chos_place_open(&here, e))
        return -1;
    if (here.cwd < 0) {
        chos_place_close(&here);
        return chos_fail(e, CHOS_SYSTEM, EACCES, "remembering this place");
    }
    int rc = find(&s, name, place, e);
    chos_registry_close(&s);
    if (chos_place_return(&here, s.moved, &stranded)) {
        *e = stranded;
        rc = -1;
    }
    chos_place_close(&here);
    return rc;
}
