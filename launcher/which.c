/* chos --which: what would be entered here, by a login and by a job, and who chose it. */
#include "launcher.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name, who chose it ("$CHOS", "~/.chos" or "default"), and whether it is one on this node. */
struct choice { const char *name, *source; bool offered; };

/* The registry is the working directory. */
static struct choice choice(const char *name, const char *source)
{
    char path[sizeof "env/" + CHOS_NAME_SIZE], file[CHOS_NAME_SIZE];
    struct chos_text t = {path, sizeof path, 0};
    struct stat st;
    chos_put(&t, "env/");
    bool legal = name != NULL && chos_name_escape(name, file) == 0;
    chos_put(&t, legal ? file : "");
    return (struct choice){name, source, legal && lstat(path, &st) == 0};
}

/* What cannot be read chooses nothing; a login says why. */
static struct choice of_login(void)
{
    struct chos_error ignored;
    const char *name;
    return user_file_read(".chos", &name, &ignored) > 0 ? choice(name, "~/.chos") : choice("default", "default");
}

static void tell_choice(const struct choice *c)
{
    if (!c->offered && c->source[0] == 'd') {
        tell("the base: neither ~/.chos nor an environment `default`\n");
        return;
    }
    tell_safe(c->name);
    tell(", from ");
    tell(c->source);
    tell(c->offered ? "\n" : ": no such environment on this node\n");
}

/* A job has the variables that it was submitted with, where the batch system hands them on. */
static void tell_batch(const struct choice *variable, const struct choice *login)
{
    static struct chos_jobs jobs;
    struct chos_error ignored;
    bool reads_file = chos_jobs_read(&jobs, &ignored) == 0 && jobs.user_file != NULL;
    tell(variable->name != NULL || reads_file ? "batch       " : "batch       Slurm: ");
    tell_choice(variable->name != NULL ? variable : login);
    if (variable->name == NULL && !reads_file)
        tell("            others: the base, $CHOS is not set\n");
}

static void tell_row(const char *row, const char *value)
{
    tell(row);
    tell_safe(value);
    tell("\n");
}

/* We are in the registry, without privilege: what we may not read, we may not enter. */
void which_report(struct chos_session *s)
{
    static char tree[CHOS_FILE_SIZE + 1];
    const char *chos = getenv("CHOS");
    const struct choice variable = choice(chos != NULL && chos[0] != '\0' ? chos : NULL, "$CHOS"), login = of_login();
    const struct choice *now = variable.name != NULL ? &variable : &login;
    struct chos_error e;
    if (!now->offered && now->source[0] == 'd') {
        tell("name        none\nsource      neither $CHOS, ~/.chos nor an environment `default`\n");
    } else {
        int rc = chos_choose(s, now->name, &e) || chos_find(s, &e);
        bool base = rc == 0 && s->target.kind == CHOS_TO_BASE;
        if (rc != 0 || (!base && chos_file_read("tree", tree, &e) < 0))
            die(&e);
        tree[strcspn(tree, "\n")] = '\0';
        tell_row("name        ", now->name);
        tell_row("generation  ", base ? "none, this is the base" : s->target.name);
        tell_row("backend     ", s->backend == CHOS_KMOD ? "kmod" : "ns");
        tell_row("tree        ", base ? "/" : tree);
        tell_row("source      ", now->source);
    }
    tell("login       ");
    tell_choice(&login);
    tell_batch(&variable, &login);
    tell_end(1);
    _exit(0);
}
