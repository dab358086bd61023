/* What pam_chos.so, spank_chos.so and the PAM job starter share. Each runs in a root process, mostly of another program, its host. It must leave the
 * host's handlers, descriptors, children and credentials as they were.
 */
#ifndef CHOS_HOST_H
#define CHOS_HOST_H

#include "chos.h"

#include <limits.h>
#include <sys/syscall.h>
#include <sys/types.h>

/* Raw system calls change the calling thread only. libc's functions change all threads of the process by sending signals
 * to each. A host must not see that, and in a child of as_user.c it cannot work, because the other threads do not exist there. */
#ifdef SYS_setresuid32
#define RAW_SETGROUPS SYS_setgroups32
#define RAW_SETRESGID SYS_setresgid32
#define RAW_SETRESUID SYS_setresuid32
#define RAW_SETUID SYS_setuid32
#else
#define RAW_SETGROUPS SYS_setgroups
#define RAW_SETRESGID SYS_setresgid
#define RAW_SETRESUID SYS_setresuid
#define RAW_SETUID SYS_setuid
#endif

/* options.c: what an administrator may write for either of them, as KEY=VALUE. Pure. */
struct choice {
    const char *file;       /* the user's, relative to the home directory */
    bool fail_to_default;
    int timeout;            /* seconds that a question asked as the user may take */
};
void choice_default(struct choice *c);
bool choice_take(const char *word, struct choice *c);
const char *option_value(const char *word, const char *key);
bool option_choice(const char *value, const char *no, const char *yes, bool *to);

/* identity.c: sets every id, looks whether the kernel did it, and that there is no way back; 0 or an errno. `take` sets the
 * groups, too. */
struct person {
    char *name;       /* NULL where nobody needs it */
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    int count;
    const char *home;
};
int identity_take(const struct person *who);
int identity_take_ids(const struct person *who);

/* groups.c: 0 and a list to free, or -1 */
int groups_of(const char *name, gid_t gid, gid_t **found, int *count);

/* as_user.c: asks a child that has become this person */
enum { ANSWER_MAX = 4096 };
struct answer {
    int err;       /* an errno, 0 for yes */
    int fd;        /* a descriptor that is sent with the answer, or -1 */
    size_t len;
    char bytes[ANSWER_MAX];
};
typedef void question(const void *context, struct answer *answer);
int as_user(const struct person *who, question *ask, const void *context, int timeout, struct answer *answer);

/* look.c: checks what chos_session_enter would do, as far as that is possible without entering; `s` gets what was found */
int chos_session_look(struct chos_session *s, const char *alias, chos_permit *permit, void *context, struct chos_error *e);

/* permit.c: questions that a root process asks the kernel with the person's rights over files. `context`: a struct person */
int permit_person(const struct chos_session *s, void *context, struct chos_error *e);
bool change_directory_as(const struct person *who, const char *path);

/* entry.c: what the policy asks of the process itself */
int entry_apply(const struct chos_policy *policy, struct chos_error *e);

/* late.c: a process that becomes its user and enters only then. late_enter may be called with one name after another. Then
 * late_drop must be called, whether or not anything was entered. */
int late_keep(struct chos_error *e);
int late_enter(struct chos_session *s, const struct person *who, const char *name, struct chos_error *e);
int late_drop(const struct chos_session *s, struct chos_error *e);
void late_directory(char path[PATH_MAX]);

/* dotfile.c: reads the first word of the user's file. 1: there is one; 0: there is none; -1: an error, described in `why` */
int dotfile_read(const struct person *who, const struct choice *c, char word[CHOS_NAME_SIZE], struct chos_text *why);

/* wish.c: the name of an environment, and where it comes from */
enum wish_source { BY_NOBODY, BY_OPTION, BY_VARIABLE, BY_FILE };
struct wish {
    enum wish_source source;
    char name[CHOS_NAME_SIZE];
};
bool wish_take(struct wish *wish, enum wish_source source, const char *value);
int wish_take_file(struct wish *wish, const struct person *who, const struct choice *choice, struct chos_text *why);
bool wish_is_nothing(const struct wish *wish, const struct chos_error *e);
bool wish_may_fall_back(const struct wish *wish, const struct choice *choice);
bool wish_has_no_environment(const struct chos_error *e);

#endif
