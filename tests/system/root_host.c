/* A process that is root and enters an environment for a user, as the PAM module and the SPANK plugin do: root_host UID GID NAME.
 *
 * Linked with the fault build of libchos, so that it stops where CHOS_STOP says. Prints what became of it, the mount
 * namespace and the working directory that it is in then, how often it asked whether the user may enter, and whether it is
 * where it began.
 */
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct chos_session session;
static int asked;

struct user { uid_t uid; gid_t gid; };

static int may_enter(const struct chos_session *s, void *context, struct chos_error *e)
{
    const struct user *user = context;
    int status = 0;
    asked++;
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) || setresgid(user->gid, user->gid, user->gid) || setresuid(user->uid, user->uid, user->uid))
            _exit(EPERM);
        _exit(chos_generation_open(s, "/policy") < 0 ? errno : 0);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return chos_fail(e, CHOS_SYSTEM, 0, s->alias);
    int err = WEXITSTATUS(status);
    return err == 0 ? 0 : chos_fail(e, err == ENOENT ? CHOS_RETIRED : CHOS_DENIED, err, s->alias);
}

int main(int argc, char **argv)
{
    struct chos_error e;
    struct stat before, st;
    char cwd[4096], text[4096];
    struct chos_text t = {text, sizeof text, 0};
    if (argc != 4 || stat("/proc/self/ns/mnt", &before))
        return 2;
    struct user user = {(uid_t)atoi(argv[1]), (gid_t)atoi(argv[2])};
    int rc = chos_session_enter(&session, argv[3], may_enter, &user, &e);
    if (rc != 0)
        chos_error_text(&e, &t);
    if (stat("/proc/self/ns/mnt", &st) || getcwd(cwd, sizeof cwd) == NULL)
        return 3;
    printf("%s\n%lu\n%s\n%d\n%s\n%d\n%s\n", rc == 0 ? "entered" : "refused", (unsigned long)st.st_ino, cwd,
           session.policy.no_new_privs, session.target.name, asked, st.st_ino == before.st_ino ? "back" : "moved");
    fputs(rc == 0 ? "" : text, stdout);
    return fcntl(3, F_GETFD) < 0 ? 0 : 4;   /* nothing is left open */
}
