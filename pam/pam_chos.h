/* What the files of pam_chos.so share. It runs in a root process of another program, its host. It must leave the host's
 * handlers, descriptors, children and credentials as they are. The host itself never enters an environment; the process that
 * it makes for the user does (moment.c, child.c).
 */
#ifndef PAM_CHOS_H
#define PAM_CHOS_H

#include "host.h"

#include <security/pam_modules.h>
#include <sys/types.h>

/* When a process enters. AT_FORK: in the host's next child. AT_SETCRED: at pam_setcred(3), in a process that the host made after
 * the session was opened. BY_HOST: the host itself lets its job enter; it finds CHOS in PAM's variables. NEVER. */
enum moment { AT_FORK, AT_SETCRED, BY_HOST, NEVER };

/* options.c: pure */
struct pam_options {
    struct choice choice;
    bool deny;              /* onerr=deny */
    bool debug;
    bool moment_said;       /* enter= */
    enum moment moment;
    const char *wrong;      /* the first unknown option */
};
void pam_options_parse(int argc, const char **argv, struct pam_options *o);
enum moment moment_of_service(const char *service);

/* groups.c: gets the groups from the base, and makes initgroups(3) in the child that enters answer the same */
struct passwd;
int groups_find(const struct passwd *pw, struct person *who);
int groups_prepare(const struct passwd *pw, const struct person *who);
bool groups_hold(const char *user);
void groups_release(void);

/* What the host's child needs, collected before it is made. */
struct session {
    pam_handle_t *pamh;
    pid_t opener;
    enum moment moment;
    bool deny;
    struct person who;
    char alias[CHOS_NAME_SIZE], user[CHOS_NAME_SIZE], service[CHOS_NAME_SIZE];
};

enum { PAM_MESSAGE = 4096 };

/* One call of the module. */
struct call {
    pam_handle_t *pamh;
    struct pam_options options;
    struct session session;
    const char *hindrance;   /* why entering is not possible although the name is valid, or NULL */
};

/* reasons.c: whether a process of this host may enter, and when; NULL: it may */
extern const char pam_setcred_name[];   /* data of a handle for which pam_setcred(3) was called */
const char *reason_to_step_aside(const struct call *call);
int stays(const struct call *call, struct chos_error *e);
const char *find_moment(struct call *call);
const char *what_is_wrong(const struct call *call, const struct chos_error *of_settings);

/* moment.c: one session at a time; `arm` copies it, and takes its groups */
int moment_arm(struct session *session);
bool moment_is_armed(const pam_handle_t *pamh);
bool moment_is_taken(const pam_handle_t *pamh);
void moment_forget(const pam_handle_t *pamh);
bool moment_end(const pam_handle_t *pamh);
bool moment_close(const pam_handle_t *pamh);
void moment_setcred(pam_handle_t *pamh);

/* cmdline.c: the words of /proc/self/cmdline or environ, each ended by NUL; NULL: they cannot be read */
char *process_words(const char *file, size_t *size);
void process_words_free(char *words);

/* descriptors.c: 1 yes, 0 no, -1 unknown */
struct stat;
typedef int descriptor_test(int fd, const struct stat *st, const void *context);
int any_descriptor(descriptor_test *see, const void *context);
int is_served_terminal(const struct stat *st);

/* sudo.c: what only sudo does */
bool is_sudo(const char *service);
int sudo_edits(pam_handle_t *pamh);
bool sudo_line_edits(const char *line, size_t size);
bool sudo_variables_edit(const char *variables, size_t size);
int sudo_has_monitor(const struct person *who);

/* become.c: hosts whose child becomes the user and nothing else */
bool host_only_becomes_user(const char *service);
bool host_prepare(struct session *session);
bool become_user(const struct person *who);

/* su.c: what only su and runuser do */
const char *su_line_group(const char *line, size_t size, bool options_first);
bool su_group(gid_t *gid);

/* child.c: in the process that is to become the user, still as root: enters, or prints why not and does what onerr= says */
void child_enter(struct session *session);
void child_stay(struct session *session, const char *why);

#endif
