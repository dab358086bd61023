/* A PAM module with data that it cleans up: notes each time that it does, in the file that it is given, and whether it may have
 * effects outside of its process (PAM_DATA_SILENT says no). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <security/pam_modules.h>
#include <string.h>
#include <unistd.h>

static void clean_up(pam_handle_t *pamh, void *data, int status)
{
    const char *line = status & PAM_DATA_SILENT ? "silent\n" : "aloud\n";
    int fd = open(data, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    (void)pamh;
    if (fd >= 0) {
        (void)!write(fd, line, strlen(line));
        close(fd);
    }
}

int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)flags;
    return argc == 1 ? pam_set_data(pamh, "cleans", strdup(argv[0]), clean_up) : PAM_SESSION_ERR;
}

int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}
