/* Special cases of sudo. It also opens a session for `sudo -e`, whose editor runs as the caller and not as the target user. And
 * if it gives the command a terminal, or logs its input and output, it makes two processes, and the first one stays root.
 *
 * The caller chooses sudo's arguments, variables and open descriptors. If they leave a doubt, we assume that the session edits,
 * and that the process is the one that stays root.
 */
#include "pam_chos.h"

#include <fcntl.h>
#include <pwd.h>
#include <security/pam_modutil.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

bool is_sudo(const char *service)
{
    return strcmp(service, "sudo") == 0 || strcmp(service, "sudo-i") == 0;
}

static bool ends_in_edit(const char *name)
{
    size_t len = strlen(name);
    return len >= 4 && strcmp(name + len - 4, "edit") == 0;
}

/* The short options that take a word, sudo(8), in this and in later versions. */
static const char with_word[] = "aCcDghpRrTtUu";

/* For a cluster of short options such as -nu: whether it contains -e, and whether it takes the next word. */
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

/* The long options that take no word. We assume that unknown ones take a word, so that no word is mistaken for the command. */
static const char *const without_word[] = {
    "--askpass", "--background", "--bell", "--help", "--list", "--login", "--no-update", "--non-interactive", "--preserve-env",
    "--preserve-groups", "--remove-timestamp", "--reset-timestamp", "--set-home", "--shell", "--stdin", "--validate", "--version",
};

/* Long options may be abbreviated if they stay unambiguous: --ed. */
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

/* sudo treats a command of this name like -e, in whichever directory it is. */
static bool is_sudoedit(const char *command)
{
    const char *slash = strrchr(command, '/');
    return strcmp(slash != NULL ? slash + 1 : command, "sudoedit") == 0;
}

static const char *next_word(const char *word)
{
    return word + strlen(word) + 1;
}

/* The words end in NUL, as in /proc/PID/cmdline. Which of them is the command depends on sudo's version, because versions differ
 * in where options end and what counts as a variable. So every word is checked as if it were the command. */
bool sudo_line_edits(const char *line, size_t size)
{
    const char *slash = strrchr(line, '/'), *end = line + size;
    if (ends_in_edit(slash != NULL ? slash + 1 : line))
        return true;
    for (const char *word = next_word(line); word < end; word = next_word(word)) {
        if (is_sudoedit(word))
            return true;
    }
    bool skip = false;
    for (const char *word = next_word(line); word < end; word = next_word(word)) {
        bool is_option = word[0] == '-' && word[1] != '\0';
        if (skip)
            skip = false;
        else if (is_option && strcmp(word, "--") != 0) {
            if (word_edits(word, &skip))
                return true;
        } else if (is_option || strchr(word, '=') == NULL)
            return false;   /* the command */
    }
    return false;
}

/* `sudo -s` runs $SHELL. If its name is sudoedit, sudo treats that like -e too. */
bool sudo_variables_edit(const char *variables, size_t size)
{
    static const char shell[] = "SHELL=";
    for (const char *word = variables; word < variables + size; word = next_word(word)) {
        if (strncmp(word, shell, sizeof shell - 1) == 0 && is_sudoedit(word + sizeof shell - 1))
            return true;
    }
    return false;
}

/* Without $SHELL, -s runs the caller's shell of passwd(5), and -i runs the target's. Some sites let users set their shell. */
static bool account_edits(pam_handle_t *pamh, int who)
{
    const void *name = NULL;
    const struct passwd *pw = pam_get_item(pamh, who, &name) == PAM_SUCCESS && name != NULL ? pam_modutil_getpwnam(pamh, name) : NULL;
    return pw != NULL && is_sudoedit(pw->pw_shell);
}

/* 1 yes, 0 no, -1 unknown. Reads the variables with which sudo was started, because sudo has changed them since. */
int sudo_edits(pam_handle_t *pamh)
{
    if (account_edits(pamh, PAM_RUSER) || account_edits(pamh, PAM_USER))
        return 1;
    static const struct { const char *file; bool (*says_so)(const char *, size_t); } said[] = {
        {"/proc/self/cmdline", sudo_line_edits}, {"/proc/self/environ", sudo_variables_edit},
    };
    int found = 0;
    for (size_t i = 0; found == 0 && i < sizeof said / sizeof *said; i++) {
        size_t size;
        char *words = process_words(said[i].file, &size);
        found = words == NULL ? -1 : said[i].says_so(words, size);
        if (words != NULL)
            process_words_free(words);
    }
    return found;
}

/* A descriptor with the close-on-exec flag cannot come from the caller, because execve(2) would have closed it. So it is
 * sudo's own. */
static bool is_own_pair(int fd, const struct stat *st)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    return S_ISSOCK(st->st_mode) && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0
        && getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.ss_family == AF_UNIX && len == sizeof peer.ss_family;
}

static int serves_command(int fd, const struct stat *st, const void *context)
{
    const struct person *who = context;
    return is_own_pair(fd, st) ? 1 : st->st_uid == who->uid ? is_served_terminal(st) : 0;
}

/* If there is a monitor, sudo has made a pair of sockets for it before, and usually a terminal that belongs to the user.
 * 1 yes, 0 no, -1 unknown. */
int sudo_has_monitor(const struct person *who)
{
    return any_descriptor(serves_command, who);
}
