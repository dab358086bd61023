/* What the modules of pam_chos.so share. It lives in a root process that is not ours: it leaves that process's
 * handlers, descriptors, children and credentials alone, and undoes what it did when the session ends.
 */
#ifndef PAM_CHOS_H
#define PAM_CHOS_H

#include "chos.h"

#include <security/pam_modules.h>
#include <sys/types.h>

/* options.c: pure */
struct pam_options {
    const char *file;       /* relative to the home directory */
    bool fail_to_default;
    bool deny;              /* onerr=deny */
    bool debug;
    int timeout;            /* seconds that a question may take that is answered as the user */
    const char *wrong;      /* the first option that is none */
};
void pam_options_parse(int argc, const char **argv, struct pam_options *o);

/* as_user.c: asks a child that has become this person */
struct person {
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    int count;
    const char *home;
};
enum { ANSWER_MAX = 4096 };
struct answer {
    int err;       /* an errno, 0 for yes */
    int fd;        /* a descriptor that goes along, or -1 */
    size_t len;
    char bytes[ANSWER_MAX];
};
typedef void question(const void *context, struct answer *answer);
int as_user(const struct person *who, question *ask, const void *context, int timeout, struct answer *answer);

/* groups.c: what the base says; and that initgroups(3) says the same in this process until it is released */
struct passwd;
int groups_find(const struct passwd *pw, struct person *who);
int groups_hold(const struct passwd *pw, const struct person *who);
void groups_release(void);

/* dotfile.c: the first word of the user's file: 1, 0 where there is none, or -1 and a text that says why not */
int dotfile_read(const struct person *who, const struct pam_options *o, char word[CHOS_NAME_SIZE], struct chos_text *why);

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
