/* spank_chos.so: the tasks of Slurm's jobs run in the environment that their user chose.
 *
 * Who chose: --chos=NAME, the submitter's $CHOS, ~/.chos, or the name `default`. A name is all that anybody can choose;
 * what it stands for is looked up on the node, in root's registry. uid 0 is never moved. See spank_chos(8).
 *
 * The one hook that can enter is slurm_spank_task_init_privileged: root, and in the task's own process. A task that cannot
 * be where it should be ends there, with the reason in its standard error, also where plugstack.conf says `optional`:
 * its command is never run on the base instead.
 */
#include "spank_chos.h"

#pragma GCC visibility push(default)
#include <slurm/slurm.h>
#include <slurm/spank.h>
SPANK_PLUGIN(chos, 1)
#pragma GCC visibility pop

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE = 1500, FAILED = 125, ACCOUNT = 16384 };

/* What is carried from who submits to the tasks. Slurm hands on a batch job's options as variables of other names, and
 * --export=NONE loses those like any variable; SLURM_* always passes. */
#define CARRIED_OPTION "SLURM_CHOS_OPTION"
#define CARRIED_VARIABLE "SLURM_CHOS"

static struct plugin plugin;
static struct { char text[ACCOUNT]; struct passwd entry, *found; } account;

/* Line by line, each with Slurm's prefix: to the terminal of who submits, or to the task's standard error. */
static void tell(char *text)
{
    char *at = NULL;
    for (char *line = strtok_r(text, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at))
        slurm_spank_log("%s%s", line == text ? "chos: " : "", line);
}

static void tell_error(const struct chos_error *e)
{
    char text[MESSAGE] = "";
    struct chos_text t = {text, sizeof text, 0};
    chos_error_text(e, &t);
    tell(text);
}

_Noreturn static void end_task(void)
{
    _exit(FAILED);
}

/* --- where jobs are submitted ----------------------------------------------------------------------------------- */

/* A name that nobody on this host has heard of is refused at once. A host without environments has heard of none. */
static bool is_unknown(const char *name, struct chos_error *e)
{
    enum place place;
    char file[CHOS_NAME_SIZE];
    if (chos_name_escape(name, file)) {
        chos_fail(e, CHOS_ILLEGAL, 0, name);
        return true;
    }
    return plugin.submit_check && look_up(name, &place, e) != 0 && e->reason == CHOS_UNKNOWN;
}

static int take_option(int value, const char *name, int remote)
{
    struct chos_error e;
    struct chos_text t = {plugin.asked, sizeof plugin.asked, 0};
    (void)value;
    chos_put(&t, name != NULL ? name : "");
    if (remote || !is_unknown(name != NULL ? name : "", &e))
        return ESPANK_SUCCESS;
    tell_error(&e);
    return ESPANK_ERROR;
}

static struct spank_option option = {
    (char *)"chos", (char *)"NAME", (char *)"run in this environment (Linux distribution) of CHOS; `root`: in the node's own",
    1, 0, take_option,
};

int slurm_spank_init(spank_t spank, int argc, char **argv)
{
    choice_default(&plugin.choice);
    plugin.submit_check = true;
    plugin.wrong = NULL;
    for (int i = 0; i < argc; i++) {
        const char *value = option_value(argv[i], "submit_check");
        bool good = value != NULL ? option_choice(value, "0", "1", &plugin.submit_check)
            : choice_take(argv[i], &plugin.choice);
        if (!good && plugin.wrong == NULL)
            plugin.wrong = argv[i];
    }
    spank_context_t context = spank_context();
    if (context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR && context != S_CTX_REMOTE)
        return ESPANK_SUCCESS;
    return spank_option_register(spank, &option);
}

/* NSS is asked here, not in a task: a process that was forked by one with threads should not. */
static void find_account(spank_t spank)
{
    uid_t uid;
    if (spank_get_item(spank, S_JOB_UID, &uid) != ESPANK_SUCCESS
        || getpwuid_r(uid, &account.entry, account.text, sizeof account.text, &account.found) != 0)
        account.found = NULL;
}

static void carry(const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0')
        (void)setenv(name, value, 1);
    else
        (void)unsetenv(name);
}

int slurm_spank_init_post_opt(spank_t spank, int argc, char **argv)
{
    spank_context_t context = spank_context();
    (void)argc;
    (void)argv;
    if (context == S_CTX_REMOTE)
        find_account(spank);
    if (context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR)
        return ESPANK_SUCCESS;
    carry(CARRIED_VARIABLE, getenv("CHOS"));
    /* salloc's holds for the steps that are started within; a job of its own begins without. */
    if (plugin.asked[0] != '\0' || context == S_CTX_ALLOCATOR)
        carry(CARRIED_OPTION, plugin.asked);
    return ESPANK_SUCCESS;
}

/* --- where jobs run --------------------------------------------------------------------------------------------- */

/* A name, and who chose it. */
struct wish {
    const char *name;
    enum { BY_NOBODY, BY_OPTION, BY_VARIABLE, BY_FILE } source;
    char word[CHOS_NAME_SIZE];
};

/* One that is too long for a name is cut off, and no name either. */
static bool has_variable(spank_t spank, const char *name, struct wish *wish)
{
    spank_err_t rc = spank_getenv(spank, name, wish->word, sizeof wish->word);
    wish->name = wish->word;
    wish->source = BY_VARIABLE;
    return (rc == ESPANK_SUCCESS || rc == ESPANK_NOSPACE) && wish->word[0] != '\0';
}

static bool has_option(spank_t spank, struct wish *wish)
{
    bool asked = plugin.asked[0] != '\0';
    if (!asked && !has_variable(spank, CARRIED_OPTION, wish))
        return false;
    wish->name = asked ? plugin.asked : wish->word;
    wish->source = BY_OPTION;
    return true;
}

static int find_wish(spank_t spank, const struct task *task, struct wish *wish, struct chos_text *why)
{
    if (has_option(spank, wish) || has_variable(spank, "CHOS", wish) || has_variable(spank, CARRIED_VARIABLE, wish))
        return 0;
    int found = task->who.home == NULL ? 0 : dotfile_read(&task->who, &plugin.choice, wish->word, why);
    wish->name = found == 0 ? "default" : wish->word;
    wish->source = found == 0 ? BY_NOBODY : BY_FILE;
    return found < 0 ? -1 : 0;
}

/* "12.0", "12.batch", "12_3.batch": as sacct(1) writes them. Returns the step's number. */
static uint32_t name_job(spank_t spank, struct task *task)
{
    uint32_t job = 0, step = 0, array = 0, index = 0;
    struct chos_text t = {task->job, sizeof task->job, 0};
    (void)spank_get_item(spank, S_JOB_ID, &job);
    (void)spank_get_item(spank, S_JOB_STEPID, &step);
    bool is_array = spank_get_item(spank, S_JOB_ARRAY_ID, &array) == ESPANK_SUCCESS
        && spank_get_item(spank, S_JOB_ARRAY_TASK_ID, &index) == ESPANK_SUCCESS && array != 0 && index != NO_VAL;
    chos_put_number(&t, is_array ? array : job);
    if (is_array) {
        chos_put(&t, "_");
        chos_put_number(&t, index);
    }
    chos_put(&t, ".");
    if (step == SLURM_BATCH_SCRIPT)
        chos_put(&t, "batch");
    else if (step == SLURM_INTERACTIVE_STEP)
        chos_put(&t, "interactive");
    else
        chos_put_number(&t, step);
    return step;
}

static int describe(spank_t spank, struct task *task)
{
    int id = 0;
    *task = (struct task){.first = spank_get_item(spank, S_TASK_ID, &id) == ESPANK_SUCCESS && id == 0};
    if (spank_get_item(spank, S_JOB_UID, &task->who.uid) != ESPANK_SUCCESS
        || spank_get_item(spank, S_JOB_GID, &task->who.gid) != ESPANK_SUCCESS
        || spank_get_item(spank, S_JOB_SUPPLEMENTARY_GIDS, &task->who.groups, &task->who.count) != ESPANK_SUCCESS)
        return -1;
    if (account.found != NULL) {
        task->user = account.entry.pw_name;
        task->who.home = account.entry.pw_dir;
    }
    int argc = 0;
    char **argv = NULL;
    if (name_job(spank, task) == SLURM_BATCH_SCRIPT && spank_get_item(spank, S_JOB_ARGV, &argc, &argv) == ESPANK_SUCCESS
        && argc > 0)
        task->script = argv[0];
    return 0;
}

static bool set_from_policy(spank_t spank, char *variable)
{
    char *value = strchr(variable, '=');
    if (value == NULL)
        return false;
    *value = '\0';
    bool set = spank_setenv(spank, variable, value + 1, 1) == ESPANK_SUCCESS;
    *value = '=';
    return set;
}

static int set_variables(spank_t spank, const char *name, const struct chos_session *s)
{
    bool set = spank_setenv(spank, "CHOS", name, 1) == ESPANK_SUCCESS;
    if (s->target.kind == CHOS_TO_BASE)
        (void)spank_unsetenv(spank, "CHOS_GENERATION");
    else
        set = set && spank_setenv(spank, "CHOS_GENERATION", s->target.name, 1) == ESPANK_SUCCESS;
    for (unsigned i = 0; set && i < s->policy.setenvs; i++)
        set = set_from_policy(spank, s->policy.setenv[i]);
    return set ? 0 : -1;
}

static int go(spank_t spank, const struct task *task, const char *name, struct chos_error *e)
{
    struct chos_session s = {.target = {.kind = CHOS_TO_BASE}};
    enum place place;
    if (look_up(name, &place, e) || (place == PLACE_ELSEWHERE && enter(task, name, &s, e)))
        return -1;
    return set_variables(spank, name, &s) == 0 ? 0 : chos_fail(e, CHOS_SYSTEM, ENOMEM, "the job's environment variables");
}

/* Nobody asked for anything, and the administrator offers nothing. */
static bool is_nothing(const struct wish *wish, const struct chos_error *e)
{
    return wish->source == BY_NOBODY && (e->reason == CHOS_UNKNOWN || e->reason == CHOS_NO_REGISTRY);
}

/* Who names an environment for this very job is not given another one. */
static bool may_fall_back(const struct wish *wish, const struct chos_error *e)
{
    return plugin.choice.fail_to_default && (wish->source == BY_VARIABLE || wish->source == BY_FILE)
        && (e->reason == CHOS_UNKNOWN || e->reason == CHOS_ILLEGAL);
}

static void begin(spank_t spank, const struct task *task)
{
    char text[MESSAGE] = "";
    struct chos_text why = {text, sizeof text, 0};
    struct chos_error e;
    struct wish wish;
    if (find_wish(spank, task, &wish, &why)) {
        tell(text);
        end_task();
    }
    if (go(spank, task, wish.name, &e) == 0)
        return;
    if (is_nothing(&wish, &e)) {
        (void)spank_unsetenv(spank, "CHOS_GENERATION");   /* of who submitted it */
        return;
    }
    if (may_fall_back(&wish, &e)) {
        tell_error(&e);
        slurm_spank_log("      this job tries `default` instead");
        if (go(spank, task, "default", &e) == 0)
            return;
    }
    tell_error(&e);
    end_task();
}

int slurm_spank_task_init_privileged(spank_t spank, int argc, char **argv)
{
    struct task task;
    struct wish wish;
    (void)argc;
    (void)argv;
    if (plugin.wrong != NULL) {
        slurm_spank_log("chos: plugstack.conf of this node has an unknown option or value: %s", plugin.wrong);
        end_task();
    }
    if (describe(spank, &task)) {
        slurm_spank_log("chos: slurmstepd does not say whose task this is");
        end_task();
    }
    if (task.who.uid != 0) {
        begin(spank, &task);
    } else if (has_option(spank, &wish) && strcmp(wish.name, "root") != 0) {
        slurm_spank_log("chos: %s", "root's jobs are never moved; submit as a user");
        end_task();
    }
    (void)spank_unsetenv(spank, CARRIED_OPTION);
    (void)spank_unsetenv(spank, CARRIED_VARIABLE);
    return ESPANK_SUCCESS;
}
