/* spank_chos.so: the tasks of Slurm's jobs run in the environment that their user chose.
 *
 * The name comes from --chos=NAME, the submitter's $CHOS, ~/.chos, or is `default`. Users can only choose a name; what it
 * stands for is looked up on the node, in root's registry. uid 0 is never moved. See spank_chos(8).
 *
 * Two hooks in the task's own process do it. slurm_spank_task_init_privileged runs as root and does not enter: it decides, and
 * keeps the right to enter. slurm_spank_task_init runs as the user, and enters. A task that cannot enter its environment ends,
 * with the reason in its standard error, even if plugstack.conf says `optional`. Its command never runs on the base instead.
 */
#include "spank_chos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#pragma GCC visibility push(default)
SPANK_PLUGIN(chos, 1)
#pragma GCC visibility pop

static struct plugin plugin;
static struct step step;

/* Prints line by line: to the terminal where the job is submitted, or to the task's standard error. */
static void tell(const char *text)
{
    char copy[MESSAGE] = "", *at = NULL;
    struct chos_text t = {copy, sizeof copy, 0};
    chos_put(&t, text);
    for (char *line = strtok_r(copy, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at))
        slurm_spank_log("%s%s", line == copy ? "chos: " : "", line);
}

static void tell_error(const struct chos_error *e)
{
    char text[MESSAGE] = "";
    struct chos_text t = {text, sizeof text, 0};
    chos_error_text(e, &t);
    tell(text);
}

/* --- where jobs are submitted ----------------------------------------------------------------------------------- */

/* Whether this host can refuse the name at submission: it has environments, and none of that name. A host without environments
 * refuses no name. */
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

/* Slurm may call it more than once; the last value counts. */
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
        step_begin(spank, &plugin, &step);
    if (context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR)
        return ESPANK_SUCCESS;
    carry(CARRIED_VARIABLE, getenv("CHOS"));
    /* salloc's choice holds for the steps that are started within it. A new job starts without it. */
    if (plugin.asked[0] != '\0' || context == S_CTX_ALLOCATOR)
        carry(CARRIED_OPTION, plugin.asked);
    return ESPANK_SUCCESS;
}

/* --- where jobs run --------------------------------------------------------------------------------------------- */

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

/* Most variables are set already, see step.c. */
static int set_variables(spank_t spank, const char *name, const struct chos_session *s)
{
    const char *generation = s->target.kind == CHOS_TO_BASE ? "" : s->target.name;
    bool set = strcmp(name, step.said) == 0 || spank_setenv(spank, "CHOS", name, 1) == ESPANK_SUCCESS;
    if (strcmp(generation, step.generation) != 0 && generation[0] != '\0')
        set = set && spank_setenv(spank, "CHOS_GENERATION", generation, 1) == ESPANK_SUCCESS;
    else if (generation[0] == '\0')
        (void)spank_unsetenv(spank, "CHOS_GENERATION");
    for (unsigned i = 0; set && i < s->policy.setenvs; i++)
        set = set_from_policy(spank, s->policy.setenv[i]);
    return set ? 0 : -1;
}

/* With the name `root` a task stays where slurmd put it, which may have its own mounts: PrivateTmp, a job's /tmp. It also stays
 * there if the user chose nothing and the administrator offers no `default`. */
static bool stays(void)
{
    struct chos_error e;
    enum place place;
    bool nobody = step.wish.source == BY_NOBODY;
    if (!nobody && strcmp(step.wish.name, "root") != 0)
        return false;
    if (look_up(step.wish.name, &place, &e) == 0)
        return !nobody && place == PLACE_HERE;
    return wish_is_nothing(&step.wish, &e);
}

static bool decide(spank_t spank)
{
    struct chos_error e;
    int task = 0;
    step.decision = STAYS;
    if (step.trouble[0] != '\0') {
        tell(step.trouble);
        return false;
    }
    if (step.who.uid == 0) {
        bool asked = step.wish.source == BY_OPTION && strcmp(step.wish.name, "root") != 0;
        tell(asked ? "root's jobs are never moved; submit as a user" : "");
        return !asked;
    }
    if (stays())
        return true;
    step.decision = ENTERS;
    bool first = spank_get_item(spank, S_TASK_ID, &task) == ESPANK_SUCCESS && task == 0;
    if (enter_prepare(&step, first, &e) == 0)
        return true;
    tell_error(&e);
    return false;
}

int slurm_spank_task_init_privileged(spank_t spank, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (!decide(spank))
        _exit(FAILED);
    return ESPANK_SUCCESS;
}

/* A fallback is allowed only if the user did not name an environment for this job. */
static const char *instead(void)
{
    return wish_may_fall_back(&step.wish, &plugin.choice) ? "default" : NULL;
}

/* Returns whether the task is in the wanted environment. If not, the user has got a message. */
static bool arrive(struct chos_session *s, struct attempt *a)
{
    bool there = enter(&step, instead(), s, a);
    if (there && !a->fell_back)
        return true;
    tell_error(&a->first);
    if (a->fell_back)
        slurm_spank_log("      this job tries `default` instead");
    if (a->fell_back && !there)
        tell_error(&a->second);
    return there;
}

static bool go(spank_t spank)
{
    static struct chos_session s = {.target = {.kind = CHOS_TO_BASE}};
    static struct attempt a;
    struct chos_error e;
    a.name = step.wish.name;
    if (step.decision == STAYS && (step.who.uid == 0 || step.wish.source == BY_NOBODY))
        return true;
    if (step.decision == ENTERS && !arrive(&s, &a))
        return false;
    if (step.decision == UNDECIDED) {
        tell("slurmstepd did not call this plugin as root, so nothing can be entered");
        return false;
    }
    if (set_variables(spank, a.name, &s) == 0)
        return true;
    chos_fail(&e, CHOS_SYSTEM, ENOMEM, "the job's environment variables");
    tell_error(&e);
    return false;
}

int slurm_spank_task_init(spank_t spank, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (!go(spank))
        _exit(FAILED);
    return ESPANK_SUCCESS;
}
