/* Finds out once what all tasks of a step have in common: their user, and the environment that this user chose. A thousand
 * tasks must not read the same ~/.chos at once, and a child of a process with threads cannot use NSS safely.
 */
#include "spank_chos.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum { ACCOUNT = 16384 };

static void find_account(struct step *step)
{
    static char text[ACCOUNT];
    static struct passwd entry;
    struct passwd *found = NULL;
    if (getpwuid_r(step->who.uid, &entry, text, sizeof text, &found) == 0 && found != NULL) {
        step->user = found->pw_name;
        step->who.home = found->pw_dir;
    }
}

/* Writes the name as sacct(1) does: "12.0", "12.batch", "12_3.batch". Returns the step's number. */
static uint32_t name_job(spank_t spank, struct step *step)
{
    uint32_t job = 0, number = 0, array = 0, index = 0;
    struct chos_text t = {step->job, sizeof step->job, 0};
    (void)spank_get_item(spank, S_JOB_ID, &job);
    (void)spank_get_item(spank, S_JOB_STEPID, &number);
    bool is_array = spank_get_item(spank, S_JOB_ARRAY_ID, &array) == ESPANK_SUCCESS
        && spank_get_item(spank, S_JOB_ARRAY_TASK_ID, &index) == ESPANK_SUCCESS && array != 0 && index != NO_VAL;
    chos_put_number(&t, is_array ? array : job);
    if (is_array) {
        chos_put(&t, "_");
        chos_put_number(&t, index);
    }
    chos_put(&t, ".");
    if (number == SLURM_BATCH_SCRIPT)
        chos_put(&t, "batch");
    else if (number == SLURM_INTERACTIVE_STEP)
        chos_put(&t, "interactive");
    else
        chos_put_number(&t, number);
    return number;
}

static bool describe(spank_t spank, struct step *step)
{
    int argc = 0;
    char **argv = NULL;
    if (spank_get_item(spank, S_JOB_UID, &step->who.uid) != ESPANK_SUCCESS
        || spank_get_item(spank, S_JOB_GID, &step->who.gid) != ESPANK_SUCCESS
        || spank_get_item(spank, S_JOB_SUPPLEMENTARY_GIDS, &step->who.groups, &step->who.count) != ESPANK_SUCCESS)
        return false;
    if (name_job(spank, step) == SLURM_BATCH_SCRIPT && spank_get_item(spank, S_JOB_ARGV, &argc, &argv) == ESPANK_SUCCESS
        && argc > 0)
        step->script = argv[0];
    return true;
}

/* A value that is too long for a name is cut off, and is then refused as a name. */
static bool has_variable(spank_t spank, const char *name, struct wish *wish)
{
    spank_err_t rc = spank_getenv(spank, name, wish->name, sizeof wish->name);
    return (rc == ESPANK_SUCCESS || rc == ESPANK_NOSPACE) && wish->name[0] != '\0';
}

static void find_wish(spank_t spank, const struct plugin *plugin, struct step *step)
{
    struct wish *wish = &step->wish;
    struct chos_text why = {step->trouble, sizeof step->trouble, 0};
    if (wish_take(wish, BY_OPTION, plugin->asked) || has_variable(spank, CARRIED_OPTION, wish))
        return;
    wish->source = BY_VARIABLE;
    if (has_variable(spank, "CHOS", wish) || has_variable(spank, CARRIED_VARIABLE, wish))
        return;
    wish->source = BY_FILE;
    /* If the name service does not answer at the moment, that must not decide which environment is used. */
    if (step->who.uid != 0 && step->who.home == NULL) {
        chos_put(&why, "the account cannot be looked up on this node, so nobody knows what its ~/.chos says");
        return;
    }
    if (step->who.uid != 0)
        (void)wish_take_file(wish, &step->who, &plugin->choice, &why);   /* an error is in `why`, and so in step->trouble */
    else
        (void)wish_take(wish, BY_NOBODY, "default");
}

/* The generation that a name leads to now; empty if there is none. It may have changed when a task enters. */
static void guess(const char *name, char generation[CHOS_NAME_SIZE])
{
    char file[CHOS_NAME_SIZE], path[sizeof CHOS_REGISTRY "/env/" + CHOS_NAME_SIZE], to[sizeof "../gen/" + CHOS_NAME_SIZE];
    struct chos_link link = {.kind = CHOS_TO_NAME};
    struct chos_text t = {path, sizeof path, 0}, out = {generation, CHOS_NAME_SIZE, 0};
    if (chos_name_escape(name, file))
        return;
    for (int i = 0; i < 2 && link.kind == CHOS_TO_NAME; i++) {
        t.len = 0;
        chos_put(&t, CHOS_REGISTRY "/env/");
        chos_put(&t, i == 0 ? file : link.name);
        ssize_t n = readlink(path, to, sizeof to - 1);
        if (n < 0)
            return;
        to[n] = '\0';
        if (chos_link_parse(to, &link))
            return;
    }
    if (link.kind == CHOS_TO_GENERATION)
        chos_put(&out, link.name);
}

/* Sets the variables here, before the tasks are made; a task only corrects them. The first variable that Slurm sets in a
 * process costs a page fault for each 4 kB of a buffer of a quarter of a megabyte: ten times the cost of entering. In this
 * process those pages are already there. */
static void say(spank_t spank, struct step *step)
{
    struct chos_text said = {step->said, sizeof step->said, 0};
    (void)spank_unsetenv(spank, CARRIED_OPTION);
    (void)spank_unsetenv(spank, CARRIED_VARIABLE);
    if (step->who.uid == 0 || step->trouble[0] != '\0')
        return;
    (void)spank_unsetenv(spank, "CHOS_GENERATION");   /* otherwise it would be the submitter's */
    guess(step->wish.name, step->generation);
    if (step->wish.source == BY_NOBODY && step->generation[0] == '\0')
        return;
    if (spank_setenv(spank, "CHOS", step->wish.name, 1) == ESPANK_SUCCESS)
        chos_put(&said, step->wish.name);
    if (step->generation[0] != '\0' && spank_setenv(spank, "CHOS_GENERATION", step->generation, 1) != ESPANK_SUCCESS)
        step->generation[0] = '\0';
}

void step_begin(spank_t spank, const struct plugin *plugin, struct step *step)
{
    struct chos_error ignored;
    struct chos_text why = {step->trouble, sizeof step->trouble, 0};
    *step = (struct step){.user = NULL};
    if (plugin->wrong != NULL) {
        chos_put(&why, "plugstack.conf of this node has an unknown option or value: ");
        chos_put_safe(&why, plugin->wrong);
    } else if (!describe(spank, step)) {
        chos_put(&why, "slurmstepd does not say whose task this is");
    } else {
        find_account(step);
        find_wish(spank, plugin, step);
        say(spank, step);
    }
    /* Unreadable settings do not stop the tasks. */
    if (chos_jobs_read(&step->settings, &ignored) != 0)
        step->settings.syslog = false;
}
