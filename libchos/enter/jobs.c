/* Reads /run/chos/jobs: the site's settings for jobs and records. Works on the base and inside an environment. */
#include "kmod/kmod.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The same checks as for the registry's directories: only root may write it, and below /local it must be on a tmpfs. */
static int open_jobs(const char *path)
{
    struct stat st;
    struct statfs fs;
    int fd = chos_openat2(path, O_RDONLY | O_NOFOLLOW, RESOLVE_MAGICLINKS_NO);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0
        || fstatfs(fd, &fs) || fs.f_type != TMPFS)) {
        close(fd);
        errno = EPERM;
        return -1;
    }
    return fd;
}

/* The same places as for the registry: /run/chos here, below /local, or outside the module's root directory. */
static int find_jobs(struct chos_error *e)
{
    static const char path[] = CHOS_REGISTRY "/jobs", below[] = "/local" CHOS_REGISTRY "/jobs";
    int fd = open_jobs(path);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        fd = open_jobs(below);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && chos_kmod_inside())
        return chos_kmod_open_outside(open_jobs, path, e);
    return fd >= 0 ? fd : chos_fail(e, errno == EPERM ? CHOS_UNSAFE : CHOS_SYSTEM, errno, path);
}

int chos_jobs_read(struct chos_jobs *jobs, struct chos_error *e)
{
    int fd = find_jobs(e);
    if (fd < 0 && e->reason == CHOS_SYSTEM && (e->err == ENOENT || e->err == ENOTDIR)) {
        jobs->user_file = jobs->file = NULL;
        jobs->memory = jobs->processes = 0;
        jobs->stays = 0;
        jobs->syslog = false;
        return 0;
    }
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, jobs->text, CHOS_FILE_SIZE);
    int err = errno;
    close(fd);
    if (n < 0)
        return chos_fail(e, CHOS_SYSTEM, err, CHOS_REGISTRY "/jobs");
    return chos_jobs_parse(jobs->text, (size_t)n, jobs) == 0 ? 0 : chos_fail(e, CHOS_CORRUPT, 0, CHOS_REGISTRY "/jobs");
}
