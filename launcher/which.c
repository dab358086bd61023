/* chos --which: what chos, a login and a job would enter here, and where that choice comes from. */
#include "launcher.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name, where it comes from, and whether this node has it; or an error. Without a name it means the base. */
struct choice { const char *name, *source; bool offered; struct chos_error *wrong; };

static int registry;   /* its descriptor */

static struct choice choice(const char *name, const char *source)
{
    char path[sizeof "env/" + CHOS_NAME_SIZE], file[CHOS_NAME_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    struct stat st;
    chos_put(&t, "env/");
    bool legal = name != NULL && chos_name_escape(name, file) == 0;
    chos_put(&t, legal ? file : "");
    return (struct choice){name, source, legal && fstatat(registry, path, &st, AT_SYMLINK_NOFOLLOW) == 0, NULL};
}

/* The name in a file in the home directory; without one `otherwise`, which may be NULL. */
static struct choice of_file(const char *file, const char *otherwise, char word[CHOS_DOTFILE_SIZE], struct chos_error *e)
{
    const char *name;
    int found = user_file_read(file, &name, e);
    if (found < 0)
        return (struct choice){NULL, file, false, e};
    struct chos_text t = {word, CHOS_DOTFILE_SIZE, 0};
    chos_put(&t, found > 0 ? name : "");
    return found > 0 ? choice(word, file) : choice(otherwise, "default");
}

static void tell_choice(const struct choice *c)
{
    if (c->wrong != NULL) {
        tell_safe(c->wrong->object);
        tell(" ");
        tell(c->wrong->message);
        tell("\n");
    } else if (c->name == NULL || (!c->offered && strcmp(c->source, "default") == 0)) {
        tell("the base: nothing else was chosen\n");
    } else {
        tell_safe(c->name);
        tell(", from ");
        tell(c->source[0] == '.' ? "~/" : "");
        tell_safe(c->source);
        tell(c->offered ? "\n" : ": no such environment on this node\n");
    }
}

/* What the job starter would choose for a job without $CHOS; `source` is NULL if it reads no file. */
static struct choice of_job(void)
{
    struct chos_jobs *jobs = room(sizeof *jobs);
    struct chos_error *e = room(sizeof *e);
    return chos_jobs_read(jobs, e) == 0 && jobs->user_file != NULL
        ? of_file(jobs->user_file, NULL, room(CHOS_DOTFILE_SIZE), e) : (struct choice){0};
}

/* A job gets the variables of its submission, if the batch system passes them on. */
static void tell_batch(const struct choice *variable, const struct choice *job, const struct choice *login)
{
    bool known = variable->name != NULL || job->source != NULL;
    tell(known ? "batch       " : "batch       Slurm: ");
    tell_choice(variable->name != NULL ? variable : known ? job : login);
    if (!known)
        tell("            others: the base, $CHOS is not set\n");
}

static void tell_row(const char *row, const char *value)
{
    tell(row);
    tell_safe(value);
    tell("\n");
}

/* In an environment that nobody can leave, say so here too. Not for a backend without pins, which needs no privilege. */
static void tell_refusal(const struct chos_session *s, enum chos_reason missing)
{
    struct chos_error e;
    if (!chos_backend_is_pinned(s->backend) || (missing != CHOS_NO_NEW_PRIVS && missing != CHOS_CONFINED))
        return;
    chos_fail(&e, missing, 0, "");
    tell("refused     ");
    tell(e.message);
    tell("\n            ");
    tell(e.hint);
    tell("\n");
}

/* An error about a name also says where that name came from: users forget what they once wrote into ~/.chos. */
_Noreturn static void die_of_choice(const struct choice *c, struct chos_error *e)
{
    struct chos_text t = {e->object, sizeof e->object, strlen(e->object)};
    if (c->name != NULL && strcmp(e->object, c->name) == 0) {
        chos_put(&t, c->source[0] == '.' ? " (from ~/" : " (from ");
        chos_put(&t, c->source);
        chos_put(&t, ")");
    }
    die(e);
}

/* The registry is open, and privilege is dropped: what the user may not read, the user may not enter. `missing`: why privs.c
 * found no privilege. */
void which_report(struct chos_session *s, enum chos_reason missing)
{
    char *tree = room(CHOS_FILE_SIZE + 1);
    struct chos_error *unreadable = room(sizeof *unreadable);
    const char *chos = getenv("CHOS");
    registry = s->registry;
    const struct choice variable = choice(chos != NULL && chos[0] != '\0' ? chos : NULL, "$CHOS"),
        login = of_file(".chos", "default", room(CHOS_DOTFILE_SIZE), unreadable), job = of_job();
    const struct choice *now = variable.name != NULL ? &variable : &login;
    struct chos_error e;
    if (now->wrong != NULL)
        die(now->wrong);
    if (!now->offered && now->source[0] == 'd') {
        tell("name        none\nsource      neither $CHOS, ~/.chos nor an environment `default`\n");
    } else {
        int rc = chos_choose(s, now->name, &e) || chos_find(s, &e);
        bool base = rc == 0 && s->target.kind == CHOS_TO_BASE;
        if (rc != 0 || (!base && (chos_policy_read(s, &e) || chos_tree_read(s, tree, &e) < 0)))
            die_of_choice(now, &e);
        tree[strcspn(tree, "\n")] = '\0';
        tell_row("name        ", now->name);
        tell_row("generation  ", base ? "none, this is the base" : s->target.name);
        tell_row("backend     ", chos_backend_name(s->backend));
        tell_row("tree        ", base ? "/" : tree);
        tell("source      ");
        tell(now->source[0] == '.' ? "~/" : "");
        tell(now->source);
        tell("\n");
    }
    tell("login       ");
    tell_choice(&login);
    tell_batch(&variable, &job, &login);
    tell_refusal(s, missing);
    tell_end(1);
    _exit(0);
}
