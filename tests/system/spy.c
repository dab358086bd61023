/* The shell of a hostile tree, as test_attack_trial.py has it tried. It attacks: never to be run anywhere else.
 *
 * It says what it can reach, a line for each attempt. What to look for is told by /etc/bait of the tree, NAME=VALUE
 * lines. "reach" lines are about what the test has put on the base, "call" lines about system calls that no shell
 * needs. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIDS 70000

static char bait_text[4096];

static const char *bait(const char *name) {
    static char value[256];
    char *at = bait_text;
    size_t length = strlen(name);
    for (; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (!strncmp(at, name, length) && at[length] == '=') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(at + length + 1, "\n"), at + length + 1);
            return value;
        }
    return "";
}

static int number(const char *name) { return atoi(bait(name)); }

static void row(const char *name, int reached) {
    printf("%s: %s\n", name, reached ? "yes" : "no");
    fflush(stdout);
}

/* Whether a raw system call did something; errno is of no matter. */
static int works(long result) { return result >= 0; }

static int inet(int type, int port) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000001)};
    int fd = socket(AF_INET, type, 0);
    int reached = fd >= 0 && connect(fd, (void *)&there, sizeof there) == 0 && send(fd, "spy", 3, 0) == 3;
    close(fd);
    return reached;
}

static int local(const char *path, int abstract) {
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    snprintf(there.sun_path + abstract, sizeof there.sun_path - abstract, "%s", path);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int reached = fd >= 0 && connect(fd, (void *)&there, length) == 0;
    close(fd);
    return reached;
}

static int makes(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY, 0666);
    close(fd);
    return fd >= 0;
}

static int maps(const char *path) {
    int fd = open(path, O_RDWR);
    char *there = fd >= 0 ? mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    if (there == MAP_FAILED)
        return 0;
    there[0] = 'X';
    return 1;
}

static int lists(const char *path) {
    DIR *folder = opendir(path);
    int found = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        found += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return found;
}

static int exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

static int opens(const char *path, int flags) {
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY);
    close(fd);
    return fd >= 0;
}

static void files(void) {
    row("reach tcp", inet(SOCK_STREAM, number("tcp")));
    row("reach udp", inet(SOCK_DGRAM, number("udp")));
    row("reach abstract socket", local("chos-bait", 1));
    row("reach socket", local("/srv/bait/socket", 0) || local("/local/srv/bait/socket", 0));
    row("reach file by truncating", truncate("/srv/bait/file", 0) == 0 || truncate("/local/srv/bait/file", 0) == 0);
    row("reach file by mapping", maps("/srv/bait/mapped") || maps("/local/srv/bait/mapped"));
    row("reach file by its times", utimensat(AT_FDCWD, "/srv/bait/file", NULL, 0) == 0);
    row("reach FIFO", opens("/srv/bait/fifo", O_WRONLY) || opens("/local/srv/bait/fifo", O_WRONLY));
    row("reach base by looking", exists("/srv/bait/file") || exists("/local/srv") || lists("/local") || lists("/home"));
    row("reach /tmp", makes("/tmp/touched") || makes("/local/tmp/touched"));
    row("reach /var/tmp", makes("/var/tmp/touched"));
    row("reach /dev/shm", makes("/dev/shm/touched"));
    row("reach /run", makes("/run/lock/touched") || makes("/local/run/chos/touched"));
    row("reach tree", makes("/etc/touched") || makes("/usr/open/touched") || makes("/usr/touched") ||
                          truncate("/usr/open/file", 0) == 0 || maps("/usr/open/file") || makes("/touched"));
    row("reach tree's other mounts", makes("/usr/mounted/touched"));
    row("reach /proc", exists("/proc/self") || exists("/proc/1/status") || lists("/proc"));
    row("reach /sys", lists("/sys"));
    row("reach devices", opens("/dev/zero", O_RDONLY) || opens("/dev/ptmx", O_RDWR) || opens("/dev/fuse", O_RDWR) ||
                             opens("/dev/loop-control", O_RDWR) || opens("/dev/kmsg", O_RDONLY));
    row("reach terminal", opens("/dev/tty", O_RDWR) || ioctl(0, TIOCSTI, "x") == 0 || ioctl(1, TIOCSTI, "x") == 0 ||
                              isatty(0) || isatty(1) || isatty(2));
    struct stat root, above;
    row("reach outside of root", stat("/", &root) != 0 || stat("/..", &above) != 0 || root.st_ino != above.st_ino ||
                                     stat(".", &above) != 0 || root.st_ino != above.st_ino);
}

static void descriptors(void) {
    int found = 0;
    for (int fd = 3; fd < 4096; fd++)
        found += fcntl(fd, F_GETFD) >= 0;
    row("reach descriptors", found);
    struct stat status;
    char byte;
    row("reach standard input", fstat(0, &status) != 0 || !S_ISCHR(status.st_mode) || read(0, &byte, 1) != 0);
    row("reach report's reading end", read(1, &byte, 1) >= 0 || read(2, &byte, 1) >= 0);
}

static void processes(void) {
    int signalled = 0, traced = 0, read_from = 0, limited = 0, opened = 0;
    char byte;
    struct iovec ours = {&byte, 1}, theirs = {(void *)(uintptr_t)&bait_text, 1};
    for (int pid = 1; pid < PIDS; pid++) {
        if (pid == getpid())
            continue;
        signalled += kill(pid, 0) == 0;
        traced += works(syscall(SYS_ptrace, PTRACE_SEIZE, pid, NULL, NULL));
        read_from += works(syscall(SYS_process_vm_readv, pid, &ours, 1, &theirs, 1, 0)) || errno == EFAULT;
        struct rlimit limit;
        limited += works(syscall(SYS_prlimit64, pid, RLIMIT_CORE, NULL, &limit));
        int fd = syscall(SYS_pidfd_open, pid, 0);
        opened += fd >= 0 && syscall(SYS_pidfd_getfd, fd, 0, 0) >= 0;
        close(fd);
    }
    row("reach processes by signals", signalled);
    row("reach processes by ptrace", traced);
    row("reach processes by reading", read_from);
    row("reach processes' limits", limited);
    row("reach processes' descriptors", opened);
    row("reach processes' scheduling", works(syscall(SYS_sched_getparam, number("victim"), &(int){0})));
}

static void memory(void) {
    row("reach shared memory", works(syscall(SYS_shmget, 0x43484f53, 1, 0)));
    row("reach message queue", works(syscall(SYS_msgget, 0x43484f53, 0)));
    row("reach semaphores", works(syscall(SYS_semget, 0x43484f53, 1, 0)));
    row("reach POSIX queue", works(syscall(SYS_mq_open, "chos-bait", O_RDWR, 0, NULL)));
    row("reach keys", works(syscall(SYS_request_key, "user", "chos-attack", NULL, 0)));
    void *much = mmap(NULL, (size_t)3 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    row("reach much memory", much != MAP_FAILED);
}

/* Leaves something behind, or outlives its builder. */
static void staying(void) {
    pid_t child = fork();
    if (child == 0) {
        setsid(), close(0), close(1), close(2), sleep(20), _exit(0);
    }
    row("reach a second process", child >= 0);
    child = syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, NULL, NULL, NULL, 0);
    if (child == 0)
        _exit(0);
    row("reach a process in a namespace", child >= 0);
    struct rlimit cpu;
    row("reach much processor time", getrlimit(RLIMIT_CPU, &cpu) != 0 || cpu.rlim_max > 60);
    cpu.rlim_max = cpu.rlim_cur = RLIM_INFINITY;
    row("reach unlimited processor time", setrlimit(RLIMIT_CPU, &cpu) == 0);
}

#if defined __x86_64__
/* A system call as an i386 program would make it. */
static int call_i386(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result >= 0;
}

/* socket(AF_UNIX, SOCK_STREAM, 0) by the two ways that i386 has (the number of the older is getuid's of x86_64), and as
 * x32 has it. */
static int other_socket(void) {
    int *arguments = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (arguments != MAP_FAILED)
        arguments[0] = AF_UNIX, arguments[1] = SOCK_STREAM;
    return call_i386(359, AF_UNIX, SOCK_STREAM, 0) || call_i386(102, 1, (long)arguments, 0) ||
           works(syscall(0x40000000 | SYS_socket, AF_UNIX, SOCK_STREAM, 0));
}
#else
static int other_socket(void) { return 0; }
#endif

/* Calls that nothing needs to reach: a hole in the kernel behind one of them would be one for the tree. */
static void calls(void) {
    int pair[2];
    row("call socket", works(socket(AF_UNIX, SOCK_STREAM, 0)));
    row("call socket of netlink", works(socket(AF_NETLINK, SOCK_RAW, 0)));
    row("call socketpair", works(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)));
    row("call socket of another architecture", other_socket());
    row("call io_uring_setup", works(syscall(425, 1, (char[256]){0})));
    row("call memfd_create", works(syscall(SYS_memfd_create, "x", 0)));
    row("call userfaultfd", works(syscall(SYS_userfaultfd, 1)));
    row("call perf_event_open", works(syscall(SYS_perf_event_open, (uint32_t[32]){1, 128}, 0, -1, -1, 0)));
    row("call bpf", syscall(SYS_bpf, 0, (char[128]){0}, 128) >= 0 || errno != ENOSYS);
    row("call keyctl", works(syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -2 /* of the process */, 1)));
    row("call add_key", works(syscall(SYS_add_key, "user", "spy", "x", 1, -2)));
    row("call shmget", works(syscall(SYS_shmget, 0, 4096, 0600 | 01000)));
    row("call msgget", works(syscall(SYS_msgget, 0, 0600 | 01000)));
    row("call semget", works(syscall(SYS_semget, 0, 1, 0600 | 01000)));
    row("call mq_open", works(syscall(SYS_mq_open, "spy", O_CREAT | O_RDWR, 0600, NULL)));
    row("call inotify_init1", works(syscall(SYS_inotify_init1, 0)));
    row("call fanotify_init", works(syscall(SYS_fanotify_init, 0x200, 0)));
    row("call eventfd2", works(syscall(SYS_eventfd2, 0, 0)));
    row("call timer_create", works(syscall(SYS_timer_create, CLOCK_REALTIME, NULL, &(int){0})));
    row("call unshare", works(syscall(SYS_unshare, CLONE_NEWUSER)));
    row("call mount", syscall(SYS_mount, "x", "/etc", "tmpfs", 0, NULL) == 0 || errno != ENOSYS);
    row("call open_tree", works(syscall(428, AT_FDCWD, "/", 0)));
    row("call fsopen", syscall(430, "tmpfs", 0) >= 0 || errno != ENOSYS);
    row("call chroot", chroot("/") == 0 || errno != ENOSYS);
    row("call flock", flock(open("/usr/open/file", O_RDONLY), LOCK_EX | LOCK_NB) == 0);
    row("call syslog", works(syscall(SYS_syslog, 10, NULL, 0)));
    row("call name_to_handle_at", works(syscall(SYS_name_to_handle_at, AT_FDCWD, "/", (int[34]){128}, &(int){0}, 0)));
    row("call prctl(PR_SET_PDEATHSIG)", prctl(PR_SET_PDEATHSIG, 0) == 0);
    row("call prctl(PR_SET_DUMPABLE)", prctl(PR_SET_DUMPABLE, 1) == 0);
    row("call landlock", works(syscall(444, NULL, 0, 1)));
}

static void rights(void) {
    gid_t groups[64];
    row("has groups", getgroups(64, groups) != 0);
    row("has root's ids", getuid() == 0 || geteuid() == 0 || getgid() == 0 || getegid() == 0);
    row("has gains of privilege", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1);
    int bounding = 0;
    for (int capability = 0; capability < 64; capability++)
        bounding += prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1;
    row("has capabilities in its bounding set", bounding);
    row("has ids to become", setuid(0) == 0 || setgid(0) == 0 || setresuid(-1, 1, -1) == 0);
}

extern char **environ;

int main(void) {
    int fd = open("/etc/bait", O_RDONLY);
    if (fd < 0 || read(fd, bait_text, sizeof bait_text - 1) < 0)
        return 9;
    close(fd);
    signal(SIGXFSZ, SIG_IGN);
    if (number("wait")) /* to be looked at from outside */
        sleep(number("wait"));
    descriptors(), files(), processes(), memory(), staying(), rights(), calls();
    for (char **variable = environ; *variable; variable++)
        printf("variable: %s\n", *variable);
    return number("status");
}
