/* What only su(1) and runuser(1) of util-linux do: root may have them give the user another group, -g and -G. Their
 * child asks for it, as root, when it is inside; so it has to be known before.
 */
#include "pam_chos.h"

#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options that take a word, as short ones and as the shortest clear beginnings of long ones. */
static const char with_word[] = "cCgGsuw";
static const char *const long_with_word[] = {"--c", "--g", "--se", "--sh", "--su", "--u", "--w"};

struct words { const char *line, *end, *next; };

static const char *take(struct words *w)
{
    const char *word = w->next < w->end ? w->next : NULL;
    if (word != NULL)
        w->next = word + strlen(word) + 1;
    return word;
}

/* The letter of an option with its word in `value`; 0 for all others. */
static int take_long(const char *word, struct words *w, const char **value)
{
    const char *equals = strchr(word, '=');
    for (size_t i = 0; i < sizeof long_with_word / sizeof *long_with_word; i++) {
        const char *begin = long_with_word[i];
        if (strncmp(word, begin, strlen(begin)) != 0)
            continue;
        *value = equals != NULL ? equals + 1 : take(w);
        return begin[2] == 'g' ? 'g' : strcmp(begin, "--su") == 0 ? 'G' : 'x';
    }
    return 0;
}

static int take_cluster(const char *word, struct words *w, const char **value)
{
    for (const char *c = word + 1; *c != '\0'; c++) {
        if (strchr(with_word, *c) == NULL)
            continue;
        *value = c[1] != '\0' ? c + 1 : take(w);
        return *c;
    }
    return 0;
}

/* Of a command line whose words end in NUL: the group that the user gets, the last -g, else the first -G; or NULL.
 * `options_first`: as getopt(3) with POSIXLY_CORRECT, no option is taken from behind another word. */
const char *su_line_group(const char *line, size_t size, bool options_first)
{
    struct words w = {line, line + size, line};
    const char *group = NULL, *first = NULL, *value, *word;
    (void)take(&w);
    while ((word = take(&w)) != NULL && strcmp(word, "--") != 0) {
        if (word[0] != '-' || word[1] == '\0') {
            if (options_first)
                break;
            continue;
        }
        value = NULL;
        int option = word[1] == '-' ? take_long(word, &w, &value) : take_cluster(word, &w, &value);
        if (option == 'g')
            group = value;
        else if (option == 'G' && first == NULL)
            first = value;
    }
    return group != NULL ? group : first;
}

/* False: it cannot be told. These options are root's alone; whoever is not may have such words for the shell. */
bool su_group(gid_t *gid)
{
    if (getuid() != 0)
        return true;
    size_t size;
    char *line = process_words("/proc/self/cmdline", &size);
    if (line == NULL)
        return false;
    const char *name = su_line_group(line, size, getenv("POSIXLY_CORRECT") != NULL);
    const struct group *group = name != NULL ? getgrnam(name) : NULL;
    if (group != NULL)
        *gid = group->gr_gid;
    process_words_free(line);
    return name == NULL || group != NULL;
}
