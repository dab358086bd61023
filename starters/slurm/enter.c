/* A task enters an environment, as its user.
 *
 * slurmstepd forks a process for each task. It is root at first, and hooks of other plugins run in it as root. Then it
 * becomes the user permanently. Then come the hooks that run as the user (ours enters), TaskProlog, and the command. So no
 * process is inside as root, and neither slurmstepd nor a plugin opens a file of the tree with privilege.
 */
#include "spank_chos.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* As root, on the base: opens what only root can open. */
int enter_prepare(struct step *step, bool record, struct chos_error *e)
{
    step->records = (struct chos_record){-1, -1};
    if (record)
        chos_record_open(&step->records, &step->settings, "");
    return late_keep(e);
}

/* Inside, slurmd's spool directory must be the base's. Only the bind map can provide that. */
static int find_script(const char *script, struct chos_error *e)
{
    if (script == NULL || access(script, F_OK) == 0)
        return 0;
    chos_fail(e, CHOS_SYSTEM, 0, script);
    e->message = "the batch script is not in this environment";
    e->hint = "an administrator adds slurmd's spool directory to `share` of the bind map, see bindmap(5); for the"
        " backend kmod, makes a link to it in the tree, by way of /local";
    return -1;
}

/* Goes back to the directory, as Slurm does, with Slurm's message if that fails. */
static int go_back(const char *directory, struct chos_error *e)
{
    char path[PATH_MAX] = "", why[128] = "";
    struct chos_text safe = {path, sizeof path, 0}, reason = {why, sizeof why, 0};
    if (directory[0] == '/' && chdir(directory) == 0)
        return 0;
    chos_put(&reason, directory[0] == '/' ? strerror(errno) : "deleted, or unreachable");
    chos_put_safe(&safe, directory);
    slurm_spank_log("couldn't chdir to `%s': %s: going to /tmp instead", path, why);
    return chdir("/tmp") == 0 ? 0 : chos_fail(e, CHOS_SYSTEM, errno, "/tmp");
}

/* From here on the process has no privilege beyond the user's. */
static int settle(struct step *step, const char *name, const struct chos_session *s, const char *directory,
                  struct chos_error *e)
{
    if (find_script(step->script, e) || entry_apply(&s->policy, e))
        return -1;
    chos_record_write(&step->records,
                      &(struct chos_entry){step->who.uid, step->user, name, s->target.name, "slurm", step->job});
    return go_back(directory, e);
}

/* While a capability is left, open nothing, not even a catalogue of messages. */
_Noreturn static void kept(void)
{
    static const char text[] = "chos: privileges could not be given up, so nothing was executed\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(FAILED);
}

/* Enters the environment of the wish, or `other` if no environment has that name. */
bool enter(struct step *step, const char *other, struct chos_session *s, struct attempt *a)
{
    static char directory[PATH_MAX];
    struct chos_error left;
    late_directory(directory);
    a->name = step->wish.name;
    a->fell_back = false;
    bool entered = late_enter(s, &step->who, a->name, &a->first) == 0;
    if (!entered && other != NULL && wish_has_no_environment(&a->first)) {
        a->name = other;
        a->fell_back = true;
        entered = late_enter(s, &step->who, a->name, &a->second) == 0;
    }
    if (late_drop(entered ? s : NULL, &left))
        kept();
    return entered && settle(step, a->name, s, directory, a->fell_back ? &a->second : &a->first) == 0;
}
