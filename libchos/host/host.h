/* What pam_chos.so and spank_chos.so share. Each lives in a root process that is not ours, its host, which it leaves as
 * it was: handlers, descriptors, children, credentials.
 */
#ifndef CHOS_HOST_H
#define CHOS_HOST_H

#include "chos.h"

#include <limits.h>
#include <sys/syscall.h>
#include <sys/types.h>

/* The system calls themselves change the calling thread alone. libc's functions change all threads of the process, by signals
 * to each: not wanted in a host, and not possible in a child of as_user.c, whose threads did not come along. */
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

/* options.c: what an administrator may say to either, as KEY=VALUE. Pure. */
struct choice {
    const char *file;       /* the user's, relative to the home directory */
    bool fail_to_default;
    int timeout;            /* seconds that a question may take that is answered as the user */
};
void choice_default(struct choice *c);
bool choice_take(const char *word, struct choice *c);
const char *option_value(const char *word, const char *key);
bool option_choice(const char *value, const char *no, const char *yes, bool *to);

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

/* look.c: chos_session_enter without entering, as far as that can be told from here; `s` says what was found */
int chos_session_look(struct chos_session *s, const char *alias, chos_permit *permit, void *context, struct chos_error *e);

/* permit.c: what a process that is root asks the kernel with the person's rights over files. `context`: a struct person */
int permit_person(const struct chos_session *s, void *context, struct chos_error *e);
bool change_directory_as(const struct person *who, const char *path);

/* entry.c: the personality that the policy asks for */
int entry_personality(const struct chos_policy *policy, int *before, struct chos_error *e);

/* late.c: a process that becomes its user, and enters only then. late_enter may be tried with one name after another; late_drop
 * comes next, whether or not it was entered. */
int late_keep(struct chos_error *e);
int late_enter(struct chos_session *s, const struct person *who, const char *name, struct chos_error *e);
int late_drop(const struct chos_session *s, struct chos_error *e);
void late_directory(char path[PATH_MAX]);

/* dotfile.c: the first word of the user's file: 1, 0 where there is none, or -1 and a text that says why not */
int dotfile_read(const struct person *who, const struct choice *c, char word[CHOS_NAME_SIZE], struct chos_text *why);

#endif
