/* su(1) and runuser(1) of util-linux: with -g and -G root can give the user another group. Their child looks that group up as
 * root, after it has entered. So we must know it before.
 */
#include "pam_chos.h"

#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options that take a word: the short ones, and the shortest unambiguous beginnings of the long ones. */
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

/* For an option that takes a word: its letter, and the word in `value`. 0 for all others. */
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

/* The group that the user gets: the word of the last -g, otherwise of the first -G, or NULL. The words of `line` end in NUL.
 * `options_first`: options end at the first other word, as in getopt(3) with POSIXLY_CORRECT. */
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

/* False: the group is unknown. Only root may use these options; for other callers such words belong to the shell. */
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
