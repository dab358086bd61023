/* What the modules of pam_chos.so share. It lives in a root process that is not ours, its host, which it leaves as it is:
 * handlers, descriptors, children, credentials, and above all its place. The host never enters an environment; the
 * process that it makes for the user does (moment.c, child.c).
 */
#ifndef PAM_CHOS_H
#define PAM_CHOS_H

#include "host.h"

#include <security/pam_modules.h>
#include <sys/types.h>

/* When a process enters: at the host's next fork, in it; at pam_setcred(3) in a process that the host has made since the
 * session was opened; when the host itself makes it, which knows CHOS from PAM's variables; never. */
enum moment { AT_FORK, AT_SETCRED, BY_HOST, NEVER };

/* options.c: pure */
struct pam_options {
    struct choice choice;
    bool deny;              /* onerr=deny */
    bool debug;
    bool moment_said;       /* enter= */
    enum moment moment;
    const char *wrong;      /* the first option that is none */
};
void pam_options_parse(int argc, const char **argv, struct pam_options *o);
enum moment moment_of_service(const char *service);

/* groups.c: what the base says; and that initgroups(3) says the same in the child that enters */
struct passwd;
int groups_find(const struct passwd *pw, struct person *who);
int groups_prepare(const struct passwd *pw, const struct person *who);
bool groups_hold(const char *user);
void groups_release(void);

/* What the host's child needs to know, found out before it is made. */
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
    const char *hindrance;   /* why nobody can enter although the name is good, or NULL */
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
bool moment_is_of(const pam_handle_t *pamh);
void moment_forget(const pam_handle_t *pamh);
bool moment_end(const pam_handle_t *pamh);
void moment_setcred(pam_handle_t *pamh);

/* cmdline.c: of cmdline or environ in /proc/self, words that are each ended by NUL; NULL: they cannot be had */
char *process_words(const char *file, size_t *size);
void process_words_free(char *words);

/* descriptors.c: 1 yes, 0 no, -1: it cannot be told */
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

/* child.c: in the process that is to become the user, root still: enters, or says why not and does as onerr= says */
void child_enter(struct session *session);
void child_stay(struct session *session, const char *why);

#endif
