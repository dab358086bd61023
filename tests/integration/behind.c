/* A SPANK plugin as a site may have one beside spank_chos.so: in each hook that Slurm calls on the node it does what steps on
 * the files of an OS: runs a shell, translates a message, asks for a user, converts a text, loads a library, reads files.
 * plugstack.conf gives it a file, in which it notes for each hook: its name, the effective user, the effective and the
 * permitted capabilities, and those that a program has which it executes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <iconv.h>
#include <libintl.h>
#include <locale.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slurm/spank.h>

SPANK_PLUGIN(behind, 1)

static const char *const files[] = {
    "/etc/environment", "/etc/login.defs", "/etc/nsswitch.conf", "/etc/ld.so.preload", "/etc/security/limits.conf",
    "/etc/profile.d/trap.sh", "/usr/share/zoneinfo/UTC",
};

static unsigned long long capabilities(const char *key)
{
    char line[256];
    unsigned long long set = ~0ULL;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            set = strtoull(line + strlen(key), NULL, 16);
    }
    if (status != NULL)
        fclose(status);
    return set;
}

/* One line, written by a shell. */
static void note(const char *hook, const char *path)
{
    char command[512];
    snprintf(command, sizeof command, "echo %s %d %llx %llx $(grep CapPrm: /proc/self/status) >>%s", hook, (int)geteuid(),
             capabilities("CapEff:"), capabilities("CapPrm:"), path);
    (void)!system(command);
}

static int step_on_everything(const char *hook, int argc, char **argv)
{
    if (argc != 1)
        return ESPANK_ERROR;
    note(hook, argv[0]);
    setenv("LANGUAGE", "xx", 1);
    setlocale(LC_ALL, "C.UTF-8");
    (void)gettext("Terminated");
    (void)dgettext("util-linux", "Session terminated, killing shell...");
    (void)strerror(ENOENT);
    (void)getpwnam("nobody-at-all");
    (void)getgrnam("nobody-at-all");
    iconv_t converter = iconv_open("BIG5", "UTF-8");
    if (converter != (iconv_t)-1)
        iconv_close(converter);
    (void)dlopen("libnss_trap.so.2", RTLD_NOW);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *file = fopen(files[i], "r");
        if (file != NULL)
            fclose(file);
    }
    return ESPANK_SUCCESS;
}

#define HOOK(name) int slurm_spank_##name(spank_t spank, int argc, char **argv) \
    { (void)spank; return spank_remote(spank) ? step_on_everything(#name, argc, argv) : ESPANK_SUCCESS; }

HOOK(user_init)
HOOK(task_init_privileged)
HOOK(task_init)
HOOK(task_post_fork)
HOOK(task_exit)
HOOK(exit)
