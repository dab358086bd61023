/* What only sudo does: it opens a session also for `sudo -e`, whose editor is the caller's own, and for a command on a
 * terminal of its own it makes two processes, of which the first stays root.
 */
#include "pam_chos.h"

#include <string.h>
#include <sys/ioctl.h>

enum { DESCRIPTORS = 256 };

bool is_sudo(const char *service)
{
    return strcmp(service, "sudo") == 0 || strcmp(service, "sudo-i") == 0;
}

static bool ends_in_edit(const char *name)
{
    size_t len = strlen(name);
    return len >= 4 && strcmp(name + len - 4, "edit") == 0;
}

/* The short options that take a word, sudo(8), here and in later versions. */
static const char with_word[] = "aCcDghpRrTtUu";

/* Of a cluster such as -nu: whether it edits; and whether the next word belongs to it. */
static bool cluster_edits(const char *word, bool *takes_next)
{
    *takes_next = false;
    for (const char *c = word + 1; *c != '\0'; c++) {
        if (*c == 'e')
            return true;
        if (strchr(with_word, *c) != NULL) {
            *takes_next = c[1] == '\0';
            return false;
        }
    }
    return false;
}

/* The long options that take no word; what is not known takes one, so that no word is taken for the command too early. */
static const char *const without_word[] = {
    "--askpass", "--background", "--bell", "--help", "--list", "--login", "--no-update", "--non-interactive", "--preserve-env",
    "--preserve-groups", "--remove-timestamp", "--reset-timestamp", "--set-home", "--shell", "--stdin", "--validate", "--version",
};

/* A long option may be cut short where that is clear: --ed. */
static bool word_edits(const char *word, bool *takes_next)
{
    if (word[1] != '-')
        return cluster_edits(word, takes_next);
    size_t len = strcspn(word, "=");
    *takes_next = word[len] == '\0';
    for (size_t i = 0; i < sizeof without_word / sizeof *without_word; i++) {
        if (strncmp(word, without_word[i], len) == 0)
            *takes_next = false;
    }
    return len > 2 && strncmp(word, "--edit", len) == 0;
}

/* sudo takes this command for -e. */
static bool is_sudoedit(const char *command)
{
    const char *slash = strrchr(command, '/');
    return strcmp(slash != NULL ? slash + 1 : command, "sudoedit") == 0;
}

/* Words that are ended by NUL, as in /proc/PID/cmdline. */
bool sudo_line_edits(const char *line, size_t size)
{
    const char *slash = strrchr(line, '/');
    if (ends_in_edit(slash != NULL ? slash + 1 : line))
        return true;
    bool skip = false;
    for (const char *word = line + strlen(line) + 1; word < line + size; word += strlen(word) + 1) {
        bool is_option = word[0] == '-' && word[1] != '\0';
        if (skip)
            skip = false;
        else if (is_option && strcmp(word, "--") != 0) {
            if (word_edits(word, &skip))
                return true;
        } else if (is_option || strchr(word, '=') == NULL)
            return is_sudoedit(word);   /* the command */
    }
    return false;
}

/* Where it cannot be told, it does: then the command stays on the base. */
bool sudo_edits(void)
{
    size_t size;
    char *line = command_line(&size);
    if (line == NULL)
        return true;
    bool edits = sudo_line_edits(line, size);
    command_line_free(line);
    return edits;
}

/* It holds the leader of the terminal that it made. sudo closes all but 0, 1 and 2 when it starts, so that no other
 * leader can be there. */
bool sudo_has_monitor(void)
{
    unsigned number;
    for (int fd = 3; fd < DESCRIPTORS; fd++) {
        if (ioctl(fd, TIOCGPTN, &number) == 0)
            return true;
    }
    return false;
}
