/* What the files of the command `chos` share. Only chos.c, options.c and workdir_remember run before
 * privilege is dropped; everything else runs as the user. */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include "chos.h"

#ifndef CHOS_VERSION
#define CHOS_VERSION "unversioned"
#endif
#ifndef CHOS_PATH
#define CHOS_PATH "/usr/bin/chos"   /* its path on the base */
#endif

/* options.c: pure */
struct options {
    enum { RUN, WHICH, HELP, VERSION, STARTER } mode;
    const char *backend;   /* NULL: the node's default */
    bool verbose;
    char **command;        /* NULL: a login shell. There is always a free slot of argv before it */
};
int options_parse(int argc, char **argv, struct options *o, struct chos_error *e);

/* workdir.c: the path is remembered first, and the directory is entered last, as the user */
void workdir_remember(void);
const char *workdir_map(const char *path, bool leaving_environment);
void workdir_restore(const struct chos_session *s);

/* report.c: memory for what few entries need, zeroed and never given back. Not static, because a launcher whose static data
 * is larger than a page starts more slowly; not the heap, because privilege may be held.
 * And what is put together by tell() goes out in one write, by tell_end() */
void *room(size_t size);
void tell(const char *text);
void tell_safe(const char *untrusted);
void tell_end(int fd);
_Noreturn void die(struct chos_error *e);
_Noreturn void report_help(void);
_Noreturn void report_version(void);

/* which.c */
_Noreturn void which_report(struct chos_session *s, enum chos_reason missing);

/* run.c */
_Noreturn void run(const struct chos_session *s, const struct options *o, const struct chos_login *login);

/* account.c, userfile.c */
struct account { const char *name, *home, *shell; };
const struct account *account(void);
int user_file_read(const char *file, const char **name, struct chos_error *e);

/* job.c */
void job_choose(char **argv);
void job_begin(const struct chos_session *s);

/* login.c, exec.c */
unsigned login_environment(const struct chos_login *login, char **from, char *to[]);
_Noreturn void login_run(const struct chos_login *login);
_Noreturn void command_run(char **command);

#endif
