/* A SPANK plugin around spank_chos.so that times its hooks in a real slurmstepd: plugstack.conf gives it the file for
 * the times and the plugin's path. One line for each task: nanoseconds of the hooks before the task is made (all of them
 * together), and of the two in the task. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <slurm/spank.h>

SPANK_PLUGIN(chos_timed, 1)

static void *plugin;
static long before, within;
static int times = -1;

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static long timed(const char *name, spank_t spank, int argc, char **argv, int *rc)
{
    spank_f *hook = plugin == NULL ? NULL : (spank_f *)dlsym(plugin, name);
    long start = now();
    *rc = hook == NULL ? ESPANK_ERROR : hook(spank, argc - 2, argv + 2);
    return now() - start;
}

int slurm_spank_init(spank_t spank, int argc, char **argv)
{
    int rc;
    plugin = argc < 2 ? NULL : dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    before = timed(__func__, spank, argc, argv, &rc);
    return rc;
}

int slurm_spank_init_post_opt(spank_t spank, int argc, char **argv)
{
    int rc;
    before += timed(__func__, spank, argc, argv, &rc);
    return rc;
}

int slurm_spank_task_init_privileged(spank_t spank, int argc, char **argv)
{
    int rc;
    times = open(argv[0], O_WRONLY | O_APPEND | O_CLOEXEC);   /* as root, and on the base: inside it is another file */
    within = timed(__func__, spank, argc, argv, &rc);
    return rc;
}

int slurm_spank_task_init(spank_t spank, int argc, char **argv)
{
    int rc;
    within += timed(__func__, spank, argc, argv, &rc);
    if (times < 0 || dprintf(times, "%ld %ld\n", before, within) < 0)
        return ESPANK_ERROR;
    close(times);
    return rc;
}
