/* Does what the user asked for, inside and with the user's rights only: personality, working directory, variables,
 * and then the command or the shell.
 */
#include "launcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

static void tell_entered(const struct chos_session *s, const struct options *o)
{
    tell("chos: ");
    tell_safe(s->alias);
    tell(s->target.kind == CHOS_TO_BASE ? " is the base" : " is generation ");
    tell(s->target.name);
    tell(!s->moved ? ", where we are already (" : s->target.kind == CHOS_TO_BASE ? ", reached through backend "
        : ", entered through backend ");
    tell(!s->moved ? "" : chos_backend_name(s->backend));
    tell(!s->moved ? "" : " (");
    tell(o->backend == NULL ? "the node's default" : strcmp(o->backend, "auto") == 0 ? "auto: the node's default" : "asked for");
    tell(s->from_environment ? "), by way of the base\n" : ")\n");
    tell_end(2);
}

/* Sessions and jobs get CHOS_GENERATION. A command keeps its variables unchanged, except that an outdated one is corrected. */
static void set_generation(const struct chos_session *s, bool job)
{
    enum { SIZE = sizeof "CHOS_GENERATION=" + CHOS_NAME_SIZE };
    struct chos_error e;
    if (!job && getenv("CHOS_GENERATION") == NULL)
        return;
    if (s->target.kind == CHOS_TO_BASE) {
        (void)unsetenv("CHOS_GENERATION");
        return;
    }
    char *variable = room(SIZE);
    struct chos_text t = {variable, SIZE, 0};
    chos_put(&t, "CHOS_GENERATION=");
    chos_put(&t, s->target.name);
    if (putenv(variable) != 0) {
        chos_fail(&e, CHOS_SYSTEM, errno, "CHOS_GENERATION");
        die(&e);
    }
}

void run(const struct chos_session *s, const struct options *o, const struct chos_login *login)
{
    const struct chos_policy *policy = &s->policy;
    struct chos_error e;
    int now = policy->personality ? personality(0xffffffff) : 0;
    if (chos_fault("personality") || now < 0
        || (policy->personality && personality((unsigned long)(now | (int)policy->personality)) < 0)) {
        chos_fail(&e, CHOS_SYSTEM, errno, "personality");
        die(&e);
    }
    if (o->verbose)
        tell_entered(s, o);
    workdir_restore(s);
    if (o->command == NULL) {
        char **cleaned = room((CHOS_KEEP_MAX + 2) * sizeof *cleaned);
        login_environment(login, environ, cleaned);
        environ = cleaned;
    }
    for (unsigned i = 0; i < policy->setenvs; i++) {
        if (chos_fault("setenv") || putenv(policy->setenv[i]) != 0) {
            chos_fail(&e, CHOS_SYSTEM, errno, policy->setenv[i]);
            die(&e);
        }
    }
    set_generation(s, o->mode == STARTER);
    if (o->command == NULL)
        login_run(login);
    if (o->mode == STARTER)
        job_begin(s);
    command_run(o->command);
}
