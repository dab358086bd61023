/* A small kernel with mount namespaces, the module, and a registry in it; see false_kernel.h and world.h. */
#include "world.h"

#include <stdio.h>

enum { PROC = 0x9fa0, NSFS = 0x6e736673, CHOSFS = 0x63686f73, TMPFS = 0x01021994, NS_TYPE = 0xb703, DEVICE = 7, FILES = 32 };

enum kind { FREE, DIRECTORY, REGISTRY, TEXT, PIN, NAMESPACE, OWNER, ROOT, CWD, SET, RESET };

struct world world;
struct process process;

static struct { enum kind kind; int of; size_t at; char text[256]; } files[FILES];

/* Each call passes here: what is to happen beside it happens, and what is to fail fails. */
static bool fails(void)
{
    world.calls++;
    if (world.calls == world.event_at && world.event != NULL)
        world.event();
    if (world.calls != world.fail_at)
        return false;
    errno = world.fail_with;
    return true;
}

static int refuse(int err)
{
    errno = err;
    return -1;
}

static int give(enum kind kind, int of, const char *text)
{
    int fd = 3;
    while (fd < FILES && files[fd].kind != FREE)
        fd++;
    if (fd == FILES || fd >= 3 + world.room)
        return refuse(EMFILE);
    files[fd].kind = kind;
    files[fd].of = of;
    files[fd].at = 0;
    files[fd].text[0] = '\0';
    strncat(files[fd].text, text, sizeof files[fd].text - 1);
    return fd;
}

int open_files(void)
{
    int count = 0;
    for (int fd = 0; fd < FILES; fd++)
        count += files[fd].kind != FREE;
    return count;
}

static long root_of(int ns)
{
    return ns >= FIRST_NS ? FIRST_ROOT + ns : BASE_ROOT;
}

void world_begin(int ns, int tree)
{
    memset(&world, 0, sizeof world);
    memset(files, 0, sizeof files);
    world.room = FILES;
    world.module = true;
    world.seen_from_private = true;
    world.backends = "ns,kmod";
    world.generation[0].there = world.generation[0].known = true;
    process = (struct process){.ns = ns, .tree = tree, .root = tree >= 0 ? TREE_ROOT + tree : root_of(ns), .cwd = HOME};
}

static bool registry_is_at(const char *path)
{
    if (process.tree >= 0)
        return false;
    return strcmp(path, process.ns >= FIRST_NS ? "/local/run/chos" : "/run/chos") == 0;
}

static int generation_in(const char *path, const char **rest)
{
    int number = 0, n = 0;
    if (sscanf(path, "gen/el9.%d/%n", &number, &n) != 1 || number < 1 || number > GENERATIONS || n == 0
        || !world.generation[number - 1].there)
        return refuse(ENOENT);
    *rest = path + n;
    return world.generation[number - 1].closed && !world.root ? refuse(EACCES) : number - 1;
}

static int open_in_generation(const char *path)
{
    char text[256];
    const char *rest;
    int g = generation_in(path, &rest);
    if (g < 0)
        return -1;
    const struct generation *of = &world.generation[g];
    if (strcmp(rest, "ns") == 0) {
        bool seen = process.ns == BASE || (process.ns == PRIVATE && world.seen_from_private);
        return give(seen ? PIN : TEXT, FIRST_NS + g, "");
    }
    if (strcmp(rest, "tree") == 0) {
        snprintf(text, sizeof text, "/trees/%d\n", g);
        return give(TEXT, 0, text);
    }
    if (strcmp(rest, "policy") != 0)
        return refuse(ENOENT);
    world.policy_read = world.calls;
    snprintf(text, sizeof text, "chos-policy 1\nname=el9\ngeneration=%d\nroot=%d %ld\nno_new_privs=%d\n", g + 1, DEVICE,
             root_of(FIRST_NS + g), of->tight);
    return give(TEXT, 0, text);
}

static int openat2_(int dir, const char *path)
{
    char text[64];
    if (dir == AT_FDCWD)
        return registry_is_at(path) ? give(REGISTRY, 0, "") : refuse(ENOENT);
    if (strcmp(path, "base") == 0) {
        snprintf(text, sizeof text, "chos-base 1\nns=%d\nroot=%d %d\n", BASE, DEVICE, BASE_ROOT);
        return give(TEXT, 0, text);
    }
    return strncmp(path, "gen/", 4) == 0 ? open_in_generation(path) : refuse(ENOENT);
}

long false_syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    int dir = number == SYS_openat2 ? va_arg(list, int) : 0;
    const char *path = number == SYS_openat2 ? va_arg(list, const char *) : NULL;
    va_end(list);
    if (fails())
        return -1;
    return path != NULL ? openat2_(dir, path) : refuse(EPERM);
}

int false_open(const char *path, int flags)
{
    (void)flags;
    if (fails())
        return -1;
    if (strcmp(path, "/proc/self/ns/mnt") == 0)
        return give(NAMESPACE, process.ns, "");
    if (strcmp(path, "/proc/1/ns/mnt") == 0)
        return give(NAMESPACE, BASE, "");
    if (strcmp(path, "/") == 0)
        return give(ROOT, (int)process.root, "");
    if (strcmp(path, ".") == 0)
        return give(CWD, process.cwd, "");
    if (!world.module)
        return refuse(ENOENT);
    return strcmp(path, "/proc/chos/setchos") == 0 ? give(SET, 0, "")
        : strcmp(path, "/proc/chos/resetchos") == 0 ? give(RESET, 0, "") : refuse(ENOENT);
}

int false_close(int fd)
{
    if (fd < 0 || files[fd].kind == FREE)
        return refuse(EBADF);
    files[fd].kind = FREE;
    return 0;
}

ssize_t false_pread(int fd, void *to, size_t size, off_t at)
{
    if (fails())
        return -1;
    size_t n = strlen(files[fd].text + at);
    n = n < size ? n : size;
    memcpy(to, files[fd].text + at, n);
    return (ssize_t)n;
}

ssize_t false_read(int fd, void *to, size_t size)
{
    ssize_t n = false_pread(fd, to, size, (off_t)files[fd].at);
    files[fd].at += n > 0 ? (size_t)n : 0;
    return n;
}

/* The module: a tree that it knows, "/" for the real root directory. */
ssize_t false_write(int fd, const void *from, size_t size)
{
    char text[64] = "";
    int tree;
    if (fails())
        return -1;
    memcpy(text, from, size < sizeof text - 1 ? size : sizeof text - 1);
    if (files[fd].kind == RESET)
        return (ssize_t)size;
    if (strcmp(text, "/") == 0) {
        process.tree = -1;
        process.root = root_of(process.ns);
        return (ssize_t)size;
    }
    if (sscanf(text, "/trees/%d", &tree) != 1 || !world.generation[tree].known)
        return refuse(ENOENT);
    process.tree = tree;
    process.root = TREE_ROOT + tree;
    process.cwd = ROOT_DIRECTORY;
    return (ssize_t)size;
}

static ssize_t answer(const char *text, char *to, size_t size)
{
    size_t n = strlen(text);
    n = n < size ? n : size;
    memcpy(to, text, n);
    return (ssize_t)n;
}

ssize_t false_readlinkat(int dir, const char *path, char *to, size_t size)
{
    char text[64] = "/";
    const char *rest;
    if (fails())
        return -1;
    if (dir == AT_FDCWD) {
        if (process.tree >= 0)
            snprintf(text, sizeof text, "/trees/%d", process.tree);
        return world.module ? answer(text, to, size) : refuse(ENOENT);
    }
    if (strcmp(path, "backend") == 0)
        return answer(world.backends, to, size);
    if (strncmp(path, "gen/", 4) == 0) {
        if (generation_in(path, &rest) < 0)
            return -1;
        path = rest + strlen("../../");
        world.looked = world.calls;
    }
    if (strcmp(path, "env/root") == 0)
        return answer("../base", to, size);
    if (strcmp(path, "env/el9") != 0 || world.gone)
        return refuse(ENOENT);
    snprintf(text, sizeof text, "../gen/el9.%d", world.current + 1);
    return answer(text, to, size);
}

static int directory(struct stat *st)
{
    *st = (struct stat){.st_mode = S_IFDIR | 0755};
    return 0;
}

int false_stat(const char *path, struct stat *st)
{
    if (fails())
        return -1;
    (void)directory(st);
    st->st_dev = DEVICE;
    st->st_ino = strcmp(path, "/") == 0 ? (ino_t)process.root : strcmp(path, "/proc/self/ns/mnt") == 0 ? (ino_t)process.ns : 5;
    return 0;
}

int false_fstat(int fd, struct stat *st)
{
    if (fails())
        return -1;
    (void)directory(st);
    st->st_dev = DEVICE;
    st->st_ino = files[fd].kind == NAMESPACE ? (ino_t)files[fd].of : 5;
    return 0;
}

int false_fstatat(int dir, const char *path, struct stat *st)
{
    const char *rest;
    (void)dir;
    if (fails() || generation_in(path, &rest) < 0)
        return -1;
    return directory(st);
}

int false_statfs(const char *path, struct statfs *fs)
{
    memset(fs, 0, sizeof *fs);
    if (fails())
        return -1;
    if (strcmp(path, "/proc") == 0)
        fs->f_type = PROC;
    else if (strncmp(path, "/proc/chos/", 11) == 0 && world.module)
        fs->f_type = CHOSFS;
    else
        return refuse(ENOENT);
    return 0;
}

int false_fstatfs(int fd, struct statfs *fs)
{
    memset(fs, 0, sizeof *fs);
    if (fails())
        return -1;
    enum kind kind = files[fd].kind;
    fs->f_type = kind == PIN || kind == NAMESPACE ? NSFS : kind == SET || kind == RESET ? CHOSFS : TMPFS;
    return 0;
}

int false_ioctl(int fd, unsigned long what)
{
    if (fails())
        return -1;
    return what == NS_TYPE ? (files[fd].kind == PIN || files[fd].kind == NAMESPACE ? CLONE_NEWNS : 0) : give(OWNER, 0, "");
}

int false_setns(int fd)
{
    if (fails())
        return -1;
    process = (struct process){.ns = files[fd].of, .tree = -1, .root = root_of(files[fd].of), .cwd = ROOT_DIRECTORY};
    return 0;
}

int false_chdir(const char *path)
{
    if (fails())
        return -1;
    process.cwd = strcmp(path, "/") == 0 ? ROOT_DIRECTORY : HOME;
    return 0;
}

/* A root directory is remembered by a number that no working directory has. */
int false_fchdir(int fd)
{
    if (fails())
        return -1;
    process.cwd = files[fd].of;
    return 0;
}

int false_chroot(void)
{
    if (fails())
        return -1;
    process.root = process.cwd;
    return 0;
}

int false_access(const char *path)
{
    (void)path;
    return fails() ? -1 : refuse(ENOENT);
}
