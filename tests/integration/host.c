/* A host process for PAM sessions, for the tests: host SERVICE USER WORD... does each word and says what it sees.
 *
 * open, close     the session           reopen       the same with a handle of its own, in the same process
 * show            one line about this process: namespace, root, cwd, personality, no_new_privs, uids, descriptors, children
 * child           what `show` says, by a child made by fork(2); `ended: N` where that ended with status N
 * ns, childs-ns   the mount namespace alone, without a descriptor; that of a child
 * setcred         pam_setcred, after `open` or before; childs-setcred: by a child, which then says what `show` says
 * second          a session of another handle, beside the first     other-close   closes one that another handle never opened
 * second-setcred  begins the handle of the next `second`            second-close  closes what `second` has opened
 * childs-groups   what initgroups(3) gives to a child               meanwhile    runs /tmp/meanwhile
 * helper          a child made by posix_spawn(3), which runs no handlers of fork(2): shows its namespace
 * env             the variables that the session would get
 * ignore          SIGCHLD is ignored    count        SIGCHLD is counted, and shown
 * thread          starts a thread       silent       PAM_SILENT from here on
 * bench=N         opens and closes N times, and says what one takes
 */
#include <dirent.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;
static int at_exit;
static const char *label = "show";

static void count(int number) { (void)number; signals++; }
static void *sleeper(void *unused) { for (;;) pause(); return unused; }
static void ended(void) { if (at_exit == 0) at_exit = 1; else printf("atexit twice\n"); }

static int converse(int n, const struct pam_message **message, struct pam_response **response, void *data)
{
    (void)data;
    *response = calloc((size_t)n, sizeof **response);
    for (int i = 0; i < n; i++)
        printf("message: %s\n", message[i]->msg);
    return PAM_SUCCESS;
}

static void show(void)
{
    struct stat ns, root;
    char cwd[4096] = "";
    int fds = 0, children = 0;
    siginfo_t info = {0};
    stat("/proc/self/ns/mnt", &ns);
    stat("/", &root);
    if (!getcwd(cwd, sizeof cwd))
        strcpy(cwd, "?");
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL)
        fds++;
    closedir(dir);
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0)
        children = 1;
    printf("%s: ns=%lu root=%lu.%lu cwd=%s personality=%x nnp=%d uid=%d euid=%d fds=%d children=%d sigchld=%d\n", label, (unsigned long)ns.st_ino,
           (unsigned long)root.st_dev, (unsigned long)root.st_ino, cwd, (unsigned)personality(0xffffffff),
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), (int)getuid(), (int)geteuid(), fds, children, (int)signals);
}

static void namespace_of(const char *whose)
{
    struct stat ns;
    printf("%s: %lu\n", whose, stat("/proc/self/ns/mnt", &ns) == 0 ? (unsigned long)ns.st_ino : 0UL);
}

static void in_child(void (*what)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        label = "child";
        what();
        _exit(0);
    }
    if (pid < 0 || (waitpid(pid, &status, 0) == pid && status != 0))
        printf("ended: %d\n", WEXITSTATUS(status));
}

static void show_namespace(void) { namespace_of("childs-ns"); }

static void show_groups(void)
{
    const struct passwd *pw = getpwnam("alice");
    gid_t groups[64];
    int n = pw != NULL && initgroups(pw->pw_name, pw->pw_gid) == 0 ? getgroups(64, groups) : -1;
    printf("groups:");
    for (int i = 0; i < n; i++)
        printf(" %d", (int)groups[i]);
    printf("\n");
    namespace_of("childs-ns");
}

static pam_handle_t *pamh;

static void setcred_and_show(void)
{
    if (pam_setcred(pamh, PAM_ESTABLISH_CRED) != PAM_SUCCESS)
        printf("setcred: failed\n");
    show();
}

static void helper(void)
{
    static char *const argv[] = {"sh", "-c", "stat -L -c 'helper: %i' /proc/self/ns/mnt", NULL};
    pid_t pid;
    if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0)
        waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    static const struct pam_conv conv = {converse, NULL};
    pam_handle_t *other = NULL;
    bool begun = false;
    int flags = 0;
    pthread_t thread;
    setvbuf(stdout, NULL, _IONBF, 0);
    atexit(ended);
    if (argc < 3 || pam_start(argv[1], argv[2], &conv, &pamh) != PAM_SUCCESS)
        return 2;
    for (char **word = argv + 3; *word != NULL; word++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        if (strcmp(*word, "open") == 0)
            printf("open: %d\n", pam_open_session(pamh, flags));
        else if (strcmp(*word, "close") == 0)
            printf("close: %d\n", pam_close_session(pamh, flags));
        else if (strcmp(*word, "reopen") == 0) {
            pam_end(pamh, PAM_SUCCESS);
            pam_start(argv[1], argv[2], &conv, &pamh);
            printf("reopen: %d\n", pam_open_session(pamh, flags));
        } else if (strcmp(*word, "show") == 0)
            show();
        else if (strcmp(*word, "child") == 0)
            in_child(show);
        else if (strcmp(*word, "childs-ns") == 0)
            in_child(show_namespace);
        else if (strcmp(*word, "ns") == 0)
            namespace_of("ns");
        else if (strcmp(*word, "setcred") == 0)
            pam_setcred(pamh, PAM_ESTABLISH_CRED);
        else if (strcmp(*word, "childs-setcred") == 0)
            in_child(setcred_and_show);
        else if (strcmp(*word, "second") == 0) {
            if (!begun)
                pam_start(argv[1], argv[2], &conv, &other);
            begun = false;
            printf("second: %d\n", pam_open_session(other, flags));
        } else if (strcmp(*word, "second-setcred") == 0) {
            begun = pam_start(argv[1], argv[2], &conv, &other) == PAM_SUCCESS;
            pam_setcred(other, PAM_ESTABLISH_CRED);
        } else if (strcmp(*word, "second-close") == 0) {
            printf("second-close: %d\n", pam_close_session(other, flags));
        } else if (strcmp(*word, "childs-groups") == 0) {
            in_child(show_groups);
        } else if (strcmp(*word, "other-close") == 0) {
            pam_start(argv[1], argv[2], &conv, &other);
            printf("other-close: %d\n", pam_close_session(other, flags));
        } else if (strcmp(*word, "meanwhile") == 0)
            printf("meanwhile: %d\n", system("/bin/sh /tmp/meanwhile >/dev/null 2>&1"));
        else if (strcmp(*word, "helper") == 0)
            helper();
        else if (strcmp(*word, "env") == 0) {
            for (char **env = pam_getenvlist(pamh); *env != NULL; env++)
                printf("env: %s\n", *env);
        } else if (strcmp(*word, "ignore") == 0)
            signal(SIGCHLD, SIG_IGN);
        else if (strcmp(*word, "count") == 0)
            signal(SIGCHLD, count);
        else if (strcmp(*word, "thread") == 0)
            pthread_create(&thread, NULL, sleeper, NULL);
        else if (strcmp(*word, "silent") == 0)
            flags = PAM_SILENT;
        else if (strncmp(*word, "bench=", 6) == 0) {
            int n = atoi(*word + 6);
            for (int i = 0; i < n; i++) {
                pam_open_session(pamh, flags);
                pam_close_session(pamh, flags);
            }
            clock_gettime(CLOCK_MONOTONIC, &b);
            printf("bench: %.1f us\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1000 / n);
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
        printf("took: %s %.3f\n", *word, (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
    }
    pam_end(pamh, PAM_SUCCESS);
    return 0;
}
