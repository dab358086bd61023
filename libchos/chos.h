/* libchos: read the registry of environments (/run/chos, docs/registry.md) and enter one of them.
 *
 * Called by the launcher, which has three capabilities and the caller's uid, and by the PAM module and
 * the SPANK plugin, which run in a root process. It never allocates, prints or exits;
 * every failure is described in a chos_error.
 *
 * A descriptor of the registry is kept until the environment is entered, because everything is checked again
 * inside. Together with a pin, or a file, two free descriptors are needed.
 */
#ifndef CHOS_H
#define CHOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHOS_REGISTRY "/run/chos"

enum {
    CHOS_NAME_SIZE = 256,   /* a file name in the registry, with its NUL */
    CHOS_TEXT_SIZE = 256,   /* enough for nearly every policy */
    CHOS_FILE_SIZE = 8192,  /* a file has at most 8191 bytes; one byte more shows that it has too many */
    CHOS_DETAIL_SIZE = 512,
    CHOS_TREE_SIZE = 4096,  /* a path, with its NUL */
    CHOS_SETENV_MAX = 32,
    CHOS_KEEP_MAX = 256,
    CHOS_STAY_MAX = 32,
    CHOS_GENERATION_MAX = 999999999,
    CHOS_DOTFILE_SIZE = 4097,   /* at most 4096 bytes of a user's file are read */
};

/* Why something failed. error.c has the text and exit status for each. */
enum chos_reason {
    CHOS_SYSTEM, CHOS_UNSET, CHOS_ILLEGAL, CHOS_UNKNOWN, CHOS_NOT_PREPARED, CHOS_DENIED, CHOS_NO_REGISTRY, CHOS_UNSAFE,
    CHOS_CORRUPT, CHOS_RETIRED, CHOS_WRONG_ROOT, CHOS_NO_CAPABILITY, CHOS_NO_NEW_PRIVS, CHOS_CONFINED, CHOS_FOREIGN,
    CHOS_THREADS, CHOS_OLD_KERNEL, CHOS_KEPT_PRIVILEGE, CHOS_STRANDED, CHOS_NO_WAY_BACK, CHOS_NO_BACKEND, CHOS_NO_MODULE,
    CHOS_USAGE,
    CHOS_USER_FILE, CHOS_NOT_FOUND, CHOS_NOT_INSIDE, CHOS_NOT_EXECUTABLE, CHOS_NO_SHELL, CHOS_REASONS
};

struct chos_error {
    enum chos_reason reason;
    int code;                     /* exit status: 125, as env(1) and chroot(1) */
    int err;                      /* errno, or 0 */
    const char *message, *hint;   /* constant texts; `hint` says what to do next */
    char object[CHOS_NAME_SIZE];  /* what failed; may be anything a user typed: escaped when printed */
    char detail[CHOS_DETAIL_SIZE];  /* more about it, from a file; escaped as well */
};

/* A string that grows in a buffer of fixed size and is always terminated. */
struct chos_text { char *buf; size_t size, len; };

struct chos_root { uint64_t dev, ino; };
struct chos_base { uint64_t ns; struct chos_root root; };

/* Strings point into the text that was parsed. */
struct chos_policy {
    const char *name;
    uint64_t generation;
    struct chos_root root;
    bool no_new_privs;
    unsigned personality;
    unsigned setenvs;
    char *setenv[CHOS_SETENV_MAX];
};

struct chos_login {
    bool bashlogin, path;
    unsigned keeps;
    char *keep[CHOS_KEEP_MAX];
    char text[CHOS_FILE_SIZE];
};

/* Where a link in env/ leads: a generation ("el9.7"), the base, or another name. */
struct chos_link {
    enum { CHOS_TO_GENERATION, CHOS_TO_BASE, CHOS_TO_NAME } kind;
    char name[CHOS_NAME_SIZE];
    size_t stem;        /* of a generation: the length of the environment's name in `name` */
    uint64_t number;    /* and its number */
};

struct chos_session;

/* enter/backends.c has a list of the backends, which `--backend=`, messages and `chos --which` read. Names and numbers; a
 * generation with a pin takes privilege to enter. */
const char *chos_backend_name(int backend);
int chos_backend_named(const char *name, size_t len);
int chos_backend_parse(const char *backends, const char *wanted);
bool chos_backend_is_pinned(int backend);

/* Called before a generation is entered, and again inside. It refuses with -1 and a reason; the policy may not have been read
 * yet. Root callers need it, because the kernel lets root open every directory. */
typedef int chos_permit(const struct chos_session *s, void *context, struct chos_error *e);

struct chos_session {
    chos_permit *permit;        /* NULL: not needed, because the registry is read as the user and so the kernel decides */
    void *context;              /* for `permit` */
    bool held;
    int registry;               /* where `held`: its directory, as it was when it was opened */
    const char *alias;          /* what was asked for, as the user wrote it */
    char name[CHOS_NAME_SIZE];  /* the same as a file name in env/ */
    char backends[16];          /* the node's backends, the default first: "ns,kmod" */
    const char *wanted;         /* the requested backend; NULL: the default */
    int backend;                /* the number of the chosen backend */
    struct chos_base base;      /* all zero until it is needed */
    struct chos_link target;    /* what it is: a generation or the base */
    struct chos_policy policy;  /* read inside; all zero for the base */
    bool moved;                 /* we left the mount namespace in which we started */
    bool from_environment;        /* we started with another root than the base's */
    char *more;                 /* room for a policy that does not fit into `text`; made when it is needed, and kept */
    char text[CHOS_TEXT_SIZE];
};

/* Where a process is: mount namespace, root and working directory, and the tree that the kernel module shows it, if any.
 * `cwd` is -1 if the process may not open its working directory; then it goes back to `/`. If going back fails, the reason is
 * CHOS_STRANDED, and the process must end. */
struct chos_place { int ns, root, cwd; char tree[CHOS_TREE_SIZE]; };
int chos_place_open(struct chos_place *p, struct chos_error *e);
int chos_place_return(const struct chos_place *p, bool moved, struct chos_error *e);
void chos_place_close(struct chos_place *p);

/* For root processes: everything below in one call. On failure the process is where it was. On success the working
 * directory is `/` inside; the rest of the policy is not applied yet. */
int chos_session_enter(struct chos_session *s, const char *alias, chos_permit *permit, void *context, struct chos_error *e);

/* The same in steps, for the launcher: name it, open the registry (which may take going to where it can be read), choose the
 * backend, enter it (cwd becomes `/`, but for the base where we were there), which lets go of the registry. To look only: find its
 * generation, and read its policy. */
int chos_choose(struct chos_session *s, const char *alias, struct chos_error *e);
int chos_backend_choose(struct chos_session *s, struct chos_error *e);
int chos_registry_open(struct chos_session *s, struct chos_error *e);
int chos_enter(struct chos_session *s, struct chos_error *e);
int chos_find(struct chos_session *s, struct chos_error *e);
int chos_policy_read(struct chos_session *s, struct chos_error *e);
void chos_registry_close(struct chos_session *s);

/* Files of the registry that is open, and of the generation that was found. The tree's is returned with its length, or -1. */
long chos_tree_read(const struct chos_session *s, char text[CHOS_FILE_SIZE], struct chos_error *e);
int chos_login_read(const struct chos_session *s, struct chos_login *login, struct chos_error *e);

/* The site's settings for jobs, records of entries and PAM services (/run/chos/jobs). The number 0 means no limit. */
struct chos_jobs {
    const char *user_file;         /* below the home directory; NULL: none is read */
    uint64_t memory, processes;    /* of a job: bytes of address space; processes of its user */
    bool syslog;
    const char *file;              /* NULL: none */
    unsigned stays;
    char *stay[CHOS_STAY_MAX];     /* PAM services whose sessions are never moved */
    char text[CHOS_FILE_SIZE];
};

/* From /run/chos, or inside from the base's root; with any working directory. If no environment is prepared, there are no
 * settings, and that is no error. */
int chos_jobs_read(struct chos_jobs *jobs, struct chos_error *e);

/* Whether sessions of this PAM service must stay on the base, whatever their user chose. `service` may be NULL. */
bool chos_jobs_stays(const struct chos_jobs *jobs, const char *service);

/* record.c: `root` is the place of the base's root: "" or "/local". After opening, write once, which also closes, or close. */
struct chos_record { int log, file; };
struct chos_entry {
    uint64_t uid;
    const char *user, *environment, *generation, *service, *job;   /* NULL or empty: none */
};
void chos_record_open(struct chos_record *r, const struct chos_jobs *jobs, const char *root);
void chos_record_write(struct chos_record *r, const struct chos_entry *entry);
void chos_record_close(struct chos_record *r);
void chos_put_time(struct chos_text *t, uint64_t seconds);

/* dotfile.c: the first word of a regular file, and its length; 0 if there is no file or no word; otherwise -1 and errno, EINVAL
 * if it is not a regular file. Call it with no more rights than the user's. */
long chos_dotfile_read(const char *path, char word[CHOS_DOTFILE_SIZE]);
size_t chos_dotfile_word(const char **text, size_t n);

/* privs.c: keep only the three capabilities that entering needs; give these up permanently. */
int chos_privs_reduce(struct chos_error *e);
int chos_privs_drop(bool no_new_privs, struct chos_error *e);
enum chos_reason chos_privs_missing(void);

/* error.c. `chos_fail` returns -1. */
int chos_fail(struct chos_error *e, enum chos_reason reason, int err, const char *object);
void chos_error_text(const struct chos_error *e, struct chos_text *t);
void chos_put(struct chos_text *t, const char *s);
void chos_put_safe(struct chos_text *t, const char *s);
void chos_put_number(struct chos_text *t, uint64_t number);

/* Pure functions, fuzzed. The parsers write into `text` and return 0 or -1. */
bool chos_name_is_plain(const char *name);
bool chos_name_is_file(const char *name);
int chos_name_escape(const char *alias, char file[CHOS_NAME_SIZE]);
int chos_number(const char *s, uint64_t max, uint64_t *number);
int chos_link_parse(const char *text, struct chos_link *link);
int chos_policy_parse(char *text, size_t len, struct chos_policy *policy);
int chos_login_parse(char *text, size_t len, struct chos_login *login);
int chos_base_parse(char *text, size_t len, struct chos_base *base);
int chos_jobs_parse(char *text, size_t len, struct chos_jobs *jobs);

/* In test builds CHOS_FAULT names a step that fails, CHOS_STOP one at which the process stops until it gets SIGCONT (both
 * are variables of the environment); otherwise this is nothing. */
#ifdef CHOS_FAULT
bool chos_fault(const char *step);
#else
#define chos_fault(step) false
#endif

#endif
