/* Finds out whose job it is. The variables that TORQUE passes to a privileged starter cannot be believed: those of a job begin
 * with its user's, and in a task that a job starts through the TM interface the user's variables come last. So a user can
 * invent LOGNAME, PBS_O_LOGNAME or PBS_JOBID (start_exec.c: InitUserEnv, start_process).
 *
 * Users cannot forge the standard input of the job's first process. pbs_mom opens it as root, in one of three ways
 * (TMomFinalizeChild): the script; a pipe into which it wrote the script's path; the terminal of an interactive job. Before
 * that it gives the script, which is in its own directory, or the terminal to the job's user and group. So the owner of the
 * script or terminal is the user. A task of TM gets /dev/null or a socket, and is refused. Every job of a pbs_mom that was built
 * with --enable-shell-use-argv is refused too: it passes the script as an argument, and users choose the arguments of tasks.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_SIZE = 4096, PATIENCE_MS = 10000 };

/* Reads the first word in the pipe without removing it. */
static void peek(char line[LINE_SIZE])
{
    int copy[2];
    struct pollfd p = {0, POLLIN, 0};
    if (pipe2(copy, O_CLOEXEC) || poll(&p, 1, PATIENCE_MS) != 1 || tee(0, copy[1], LINE_SIZE - 1, SPLICE_F_NONBLOCK) <= 0)
        refuse(NULL, "no script on standard input");
    ssize_t n = read(copy[0], line, LINE_SIZE - 1);
    line[n > 0 ? n : 0] = '\0';
    close(copy[0]);
    close(copy[1]);
    if (strncmp(line, "exec ", 5) == 0)
        memmove(line, line + 5, strlen(line + 5) + 1);
    line[strcspn(line, " \n")] = '\0';
}

static int is_roots(const struct stat *st)
{
    return st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Only root can write in any directory of the path. So the file that is found is the one that root put there. */
static void look_up(char *path, struct stat *st)
{
    int at = path[0] == '/' ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    char *rest, *name = at < 0 ? NULL : strtok_r(path + 1, "/", &rest);
    while (name != NULL) {
        char *next = strtok_r(NULL, "/", &rest);
        int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC | (next != NULL ? O_DIRECTORY : 0);
        if (fstat(at, st) || !is_roots(st) || strcmp(name, "..") == 0)
            break;
        int below = openat(at, name, flags);
        close(at);
        at = below;
        if (at < 0 || next == NULL) {
            if (at >= 0 && fstat(at, st) == 0 && S_ISREG(st->st_mode) && st->st_nlink == 1) {
                close(at);
                return;
            }
            break;
        }
        name = next;
    }
    refuse(NULL, "what standard input names is no script of pbs_mom's");
}

/* `last` is used only in the message. */
_Noreturn static void refuse_task(const char *last)
{
    size_t length = strlen(last);
    if (length > 3 && strcmp(last + length - 3, ".SC") == 0)
        refuse(NULL, "standard input does not show whose job this is: either pbs_mom was built with --enable-shell-use-argv, which a "
            "privileged starter cannot serve, or this is a task of TM. The plain starter serves both: `chosctl install torque --undo`, "
            "then without --option privileged");
    refuse(NULL, "standard input does not show whose job this is; tasks cannot be started through TM by a privileged starter");
}

static void script(const char *last, struct stat *st)
{
    char line[LINE_SIZE];
    if (fstat(0, st))
        refuse("standard input", strerror(errno));
    if (S_ISFIFO(st->st_mode)) {
        peek(line);
        look_up(line, st);
    } else if (!S_ISREG(st->st_mode) && !isatty(0)) {
        refuse_task(last);
    }
}

static void find_groups(struct person *who, gid_t wanted)
{
    if (groups_of(who->name, who->gid, &who->groups, &who->count))
        refuse(who->name, "whose groups cannot be told");
    for (int i = 0; i < who->count; i++)
        who->gid = who->groups[i] == wanted ? wanted : who->gid;
}

/* Several accounts may share one uid. LOGNAME may choose among them. */
void owner_find(const char *logname, const char *last, struct person *who)
{
    struct stat st;
    script(last, &st);
    if (st.st_uid == 0)
        refuse("root", "no job is started as root");
    struct passwd *pw = logname != NULL ? getpwnam(logname) : NULL;
    if (pw == NULL || pw->pw_uid != st.st_uid)
        pw = getpwuid(st.st_uid);
    if (pw == NULL || pw->pw_uid != st.st_uid)
        refuse(NULL, "the job belongs to a user id that has no account on this node");
    *who = (struct person){.name = strdup(pw->pw_name), .uid = pw->pw_uid, .gid = pw->pw_gid};
    if (who->name == NULL)
        refuse(NULL, "out of memory");
    find_groups(who, st.st_gid);
}
