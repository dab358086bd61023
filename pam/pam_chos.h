/* What the modules of pam_chos.so share. It lives in a root process that is not ours: it leaves that process's
 * handlers, descriptors, children and credentials alone, and undoes what it did when the session ends.
 */
#ifndef PAM_CHOS_H
#define PAM_CHOS_H

#include "host.h"

#include <security/pam_modules.h>
#include <sys/types.h>

/* options.c: pure */
struct pam_options {
    struct choice choice;
    bool deny;              /* onerr=deny */
    bool debug;
    const char *wrong;      /* the first option that is none */
};
void pam_options_parse(int argc, const char **argv, struct pam_options *o);

/* groups.c: what the base says; and that initgroups(3) says the same in this process until it is released */
struct passwd;
int groups_find(const struct passwd *pw, struct person *who);
int groups_hold(const struct passwd *pw, const struct person *who);
void groups_release(void);

/* visit.c: a session in an environment, from entering to leaving */
struct visit {
    bool begun;              /* there is something to undo */
    bool moved;
    int personality;         /* the one before, or -1 */
    uint64_t ns;             /* which namespace `place` has to be, should the host have closed our descriptors */
    struct chos_place place;
};
int visit_begin(struct visit *v, pam_handle_t *pamh, const struct person *who, const char *alias, int timeout,
                struct chos_error *e);
int visit_end(struct visit *v, struct chos_error *e);

#endif
