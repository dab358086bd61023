/* chos(1): run a command, or a login shell, in another OS tree.
 *
 * This file is the whole of the privileged path, in order: make the process safe, keep three capabilities,
 * find and enter the environment (libchos), give everything up, and only then do what the user asked for.
 * A step that fails executes nothing.
 */
#include "launcher.h"
#include "sys/standard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Static: the stack may be small, and there is no heap while privilege is held. Small, as all static data of the launcher:
 * what does not fit into the page of the file's own data costs every entry several microseconds (see `room`). */
static struct chos_session session;

/* Inside the module's root directory everything is nosuid, so this program has no capabilities there. The backend kmod needs
 * none. The backend ns does; we have already returned to the base, so execute the base's own chos, which gets them. */
static void begin_anew(char **argv, const struct chos_error *e)
{
    struct chos_error kept;
    if (e->reason != CHOS_NO_CAPABILITY || !session.moved || chos_privs_drop(false, &kept))
        return;
    session.target.kind = CHOS_TO_BASE;
    workdir_restore(&session);
    execve(CHOS_PATH, argv, environ);
}

_Noreturn static void enter(const struct options *o, const char *alias, char **argv)
{
    struct chos_error e;
    struct chos_login *login = o->command == NULL ? room(sizeof *login) : NULL;
    session.wanted = o->backend;
    if (alias == NULL) {
        chos_fail(&e, CHOS_UNSET, 0, "CHOS");
        die(&e);
    }
    if (chos_choose(&session, alias, &e) || chos_registry_open(&session, &e) || chos_backend_choose(&session, &e)
        || (login != NULL && chos_login_read(&session, login, &e)) || chos_enter(&session, &e)
        || chos_privs_drop(session.policy.no_new_privs, &e)) {
        begin_anew(argv, &e);
        die(&e);
    }
    run(&session, o, login);
}

/* --which needs privilege only to reach the registry from inside an environment. */
_Noreturn static void which(const struct options *o)
{
    struct chos_error e;
    enum chos_reason missing = chos_privs_missing();
    session.wanted = o->backend;
    if (chos_registry_open(&session, &e) || chos_backend_choose(&session, &e) || chos_privs_drop(false, &e))
        die(&e);
    which_report(&session, missing);
}

int main(int argc, char **argv)
{
    struct chos_error e;
    struct options o;
    if (argc < 1 || chos_standard_fill() || chos_fault("stdio") || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return 125;
    if (chos_privs_reduce(&e) || options_parse(argc, argv, &o, &e))
        die(&e);
    const char *alias = getenv("CHOS");
    if (alias != NULL && alias[0] == '\0')
        alias = NULL;
    if (o.mode == WHICH)
        which(&o);
    if (o.mode == RUN || (o.mode == STARTER && alias != NULL)) {
        workdir_remember();
        enter(&o, alias, argv);
    }
    if (chos_privs_drop(false, &e))
        die(&e);
    if (o.mode == HELP)
        report_help();
    if (o.mode == VERSION)
        report_version();
    job_choose(argv);
    job_begin(NULL);
    command_run(o.command);
}
