/* Hosts of PAM sessions that there are, or may be: forking_host SERVICE USER HOW COMMAND opens a session, has the command run
 * as the user, and closes the session, as root all the while. HOW is how the user's process comes about:
 *
 * fork      one child becomes the user                 helper  a child that stays root comes first, and reads files
 * twice     the child's child becomes the user         none    this process itself becomes the user
 * vfork     a vfork, which tells no module             spawn   root runs a program, and then as `fork`
 * thread    a thread of root's reads files meanwhile   early   the child sets no identity before it has read files
 * orphan    as `twice`, with a terminal that the first child serves; this process has ended before that child does anything
 * pipes     as `twice`, with a pair of sockets and without a terminal: sudo that logs what goes through pipes
 */
#include <fcntl.h>
#include <grp.h>
#include <libintl.h>
#include <locale.h>
#include <pthread.h>
#include <pty.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static const struct passwd *user;
static pam_handle_t *pamh;

static int converse(int n, const struct pam_message **message, struct pam_response **response, void *data)
{
    (void)data;
    *response = calloc((size_t)n, sizeof **response);
    for (int i = 0; i < n; i++)
        fprintf(stderr, "message: %s\n", message[i]->msg);
    return PAM_SUCCESS;
}

/* What hosts do as root: settings, messages, names. */
static void read_files(void)
{
    static const char *const paths[] = {"/etc/login.defs", "/etc/environment", "/etc/security/limits.conf"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            close(fd);
    }
    (void)dgettext("util-linux", "Session terminated, killing shell...");
    (void)getgrnam("disk");
    setnetgrent("trap");
    endnetgrent();
}

static void *reader(void *unused)
{
    for (;;) {
        read_files();
        usleep(1000);
    }
    return unused;
}

static void become(const char *command)
{
    char **list = pam_getenvlist(pamh);
    if (setgid(user->pw_gid) || setuid(user->pw_uid))
        _exit(111);
    execle("/bin/sh", "sh", "-c", command, NULL, list != NULL ? list : environ);
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0) { }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool is_orphan;
static pid_t first;

/* Before the module's own handler: a child that was stopped right here, and whose parent was killed meanwhile. */
static void lose_parent(void)
{
    while (is_orphan && getppid() == first)
        usleep(1000);
    is_orphan = false;
}

/* What sudo has when it makes its monitor. */
static void serve(const char *how)
{
    int leader, slave, pair[2];
    is_orphan = strcmp(how, "orphan") == 0;
    first = getpid();
    if (is_orphan && (openpty(&leader, &slave, NULL, NULL, NULL) || fchown(slave, user->pw_uid, 5)))
        _exit(112);
    if (strcmp(how, "pipes") == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        _exit(113);
}

/* In a child; it is root still. */
static void child(const char *how, const char *command)
{
    if (strcmp(how, "early") == 0)
        read_files();
    if (strcmp(how, "twice") == 0 || strcmp(how, "orphan") == 0 || strcmp(how, "pipes") == 0) {
        read_files();
        pid_t pid = fork();
        if (pid != 0) {
            int status = wait_for(pid);
            read_files();
            _exit(status);
        }
    }
    become(command);
}

static void helpers(const char *how)
{
    char *words[] = {"/bin/cat", "/etc/login.defs", NULL};
    pthread_t thread;
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    if (strcmp(how, "helper") == 0 && (pid = fork()) == 0) {
        read_files();
        _exit(0);
    }
    if (strcmp(how, "spawn") == 0) {
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        (void)posix_spawn(&pid, words[0], &actions, NULL, words, environ);
    }
    if (pid > 0)
        (void)wait_for(pid);
    if (strcmp(how, "thread") == 0)
        (void)pthread_create(&thread, NULL, reader, NULL);
}

int main(int argc, char **argv)
{
    static const struct pam_conv conv = {converse, NULL};
    setlocale(LC_ALL, "");
    pthread_atfork(NULL, NULL, lose_parent);
    if (argc != 5 || (user = getpwnam(argv[2])) == NULL || pam_start(argv[1], argv[2], &conv, &pamh) != PAM_SUCCESS)
        return 2;
    const char *how = argv[3], *command = argv[4];
    if (initgroups(user->pw_name, user->pw_gid) || pam_setcred(pamh, PAM_ESTABLISH_CRED) < 0 || pam_open_session(pamh, 0) != PAM_SUCCESS)
        return 3;
    helpers(how);
    serve(how);
    int status = 0;
    if (strcmp(how, "none") == 0) {
        become(command);
    } else {
        pid_t pid = strcmp(how, "vfork") == 0 ? vfork() : fork();
        if (pid == 0)
            child(how, command);
        if (is_orphan)
            _exit(0);
        status = wait_for(pid);
    }
    read_files();
    pam_close_session(pamh, 0);
    read_files();
    pam_end(pamh, PAM_SUCCESS);
    return status;
}
