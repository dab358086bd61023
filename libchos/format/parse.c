/* The text formats of the registry: links, `base`, `policy`, `login`, `jobs` (docs/registry.md).
 *
 * Pure functions over a buffer. Strict: the whole file is refused if it has another version, an unknown key, a key
 * twice, a missing key, a malformed value or a missing newline. Nothing is guessed and nothing is ignored.
 */
#include "chos.h"

#include <string.h>

/* A decimal number as the writer writes it: no sign, no blank, no leading zero. */
int chos_number(const char *s, uint64_t max, uint64_t *number)
{
    uint64_t n = 0;
    if (s[0] == '\0' || (s[0] == '0' && s[1] != '\0'))
        return -1;
    for (; *s != '\0'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (*s < '0' || *s > '9' || digit > max || n > (max - digit) / 10)
            return -1;
        n = n * 10 + digit;
    }
    *number = n;
    return 0;
}

/* "../base", "../gen/NAME.N", or the NAME of another link. */
int chos_link_parse(const char *text, struct chos_link *link)
{
    static const char gen[] = "../gen/";
    memset(link, 0, sizeof *link);
    if (strcmp(text, "../base") == 0) {
        link->kind = CHOS_TO_BASE;
        return 0;
    }
    link->kind = strncmp(text, gen, sizeof gen - 1) == 0 ? CHOS_TO_GENERATION : CHOS_TO_NAME;
    if (link->kind == CHOS_TO_GENERATION)
        text += sizeof gen - 1;
    size_t len = strlen(text);
    if (len >= sizeof link->name)
        return -1;
    memcpy(link->name, text, len + 1);
    if (link->kind == CHOS_TO_NAME)
        return chos_name_is_file(link->name) ? 0 : -1;

    char *dot = strrchr(link->name, '.');
    if (dot == NULL || chos_number(dot + 1, CHOS_GENERATION_MAX, &link->number) || link->number == 0)
        return -1;
    *dot = '\0';
    bool legal = chos_name_is_file(link->name);
    *dot = '.';
    link->stem = (size_t)(dot - link->name);
    return legal ? 0 : -1;
}

/* One function for each kind of value: stores the value, and returns whether its text is well-formed. */
static bool take_flag(char *s, void *to)
{
    *(bool *)to = s[0] == '1';
    return (s[0] == '0' || s[0] == '1') && s[1] == '\0';
}

static bool take_number(char *s, void *to)
{
    return chos_number(s, UINT64_MAX, to) == 0;
}

static bool take_root(char *s, void *to)
{
    struct chos_root *root = to;
    char *blank = strchr(s, ' ');
    if (blank == NULL)
        return false;
    *blank = '\0';
    return take_number(s, &root->dev) && take_number(blank + 1, &root->ino);
}

static bool take_name(char *s, void *to)
{
    *(const char **)to = s;
    return chos_name_is_file(s);
}

static bool take_personality(char *s, void *to)
{
    enum { LINUX32 = 0x0008, UNAME26 = 0x0020000 };   /* personality(2) */
    unsigned bits = strcmp(s, "linux32") == 0 ? LINUX32 : strcmp(s, "uname26") == 0 ? UNAME26
        : strcmp(s, "linux32,uname26") == 0 ? LINUX32 | UNAME26 : 0;
    *(unsigned *)to = bits;
    return bits != 0;
}

static bool take_text(char *s, void *to)
{
    *(const char **)to = s;
    return s[0] != '\0';
}

/* A list of texts. Of variables: `end` is '=' if each has a value, '\0' if each is a name only. */
struct list { char **items; unsigned *count, max; char end; };

static bool take_variable(char *s, void *to)
{
    static const char bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    struct list *list = to;
    size_t len = strspn(s, bytes);
    if (*list->count == list->max || len == 0 || s[len] != list->end || (s[0] >= '0' && s[0] <= '9'))
        return false;
    list->items[(*list->count)++] = s;
    return true;
}

/* A PAM service has the name of its file below /etc/pam.d; these are the characters allowed in it. */
static bool take_service(char *s, void *to)
{
    static const char bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789._@+-";
    struct list *list = to;
    size_t len = strspn(s, bytes);
    if (*list->count == list->max || len == 0 || s[len] != '\0')
        return false;
    list->items[(*list->count)++] = s;
    return true;
}

struct key { const char *name; bool (*take)(char *, void *); void *to; enum { MUST, MAY, MANY } times; };

/* Every line except the first is KEY=VALUE. Each key must occur as often as its `times` says. */
static int parse(char *text, size_t len, const char *header, const struct key *keys, unsigned count)
{
    unsigned seen = 0;
    if (len == 0 || len >= CHOS_FILE_SIZE || text[len - 1] != '\n' || memchr(text, '\0', len) != NULL)
        return -1;
    for (char *line = text, *next; line < text + len; line = next) {
        next = memchr(line, '\n', (size_t)(text + len - line));
        if (next == NULL)
            return -1;
        *next++ = '\0';
        if (line == text) {
            if (strcmp(line, header) != 0)
                return -1;
            continue;
        }
        char *value = strchr(line, '=');
        if (value == NULL)
            return -1;
        *value++ = '\0';
        unsigned k = 0;
        while (k < count && strcmp(line, keys[k].name) != 0)
            k++;
        if (k == count || (keys[k].times != MANY && (seen & 1U << k)) || !keys[k].take(value, keys[k].to))
            return -1;
        seen |= 1U << k;
    }
    for (unsigned k = 0; k < count; k++) {
        if (keys[k].times == MUST && !(seen & 1U << k))
            return -1;
    }
    return 0;
}

int chos_policy_parse(char *text, size_t len, struct chos_policy *p)
{
    memset(p, 0, sizeof *p);
    struct list list = {p->setenv, &p->setenvs, CHOS_SETENV_MAX, '='};
    const struct key keys[] = {
        {"name", take_name, &p->name, MUST},
        {"generation", take_number, &p->generation, MUST},
        {"root", take_root, &p->root, MUST},
        {"no_new_privs", take_flag, &p->no_new_privs, MUST},
        {"personality", take_personality, &p->personality, MAY},
        {"setenv", take_variable, &list, MANY},
    };
    if (parse(text, len, "chos-policy 1", keys, sizeof keys / sizeof *keys))
        return -1;
    return p->generation >= 1 && p->generation <= CHOS_GENERATION_MAX ? 0 : -1;
}

int chos_login_parse(char *text, size_t len, struct chos_login *login)
{
    login->keeps = 0;
    struct list list = {login->keep, &login->keeps, CHOS_KEEP_MAX, '\0'};
    const struct key keys[] = {
        {"bashlogin", take_flag, &login->bashlogin, MUST},
        {"path", take_flag, &login->path, MUST},
        {"keep", take_variable, &list, MANY},
    };
    return parse(text, len, "chos-login 1", keys, sizeof keys / sizeof *keys);
}

int chos_base_parse(char *text, size_t len, struct chos_base *base)
{
    const struct key keys[] = {
        {"ns", take_number, &base->ns, MUST},
        {"root", take_root, &base->root, MUST},
    };
    return parse(text, len, "chos-base 1", keys, sizeof keys / sizeof *keys);
}

int chos_jobs_parse(char *text, size_t len, struct chos_jobs *jobs)
{
    jobs->user_file = jobs->file = NULL;
    jobs->memory = jobs->processes = 0;
    jobs->stays = 0;
    struct list list = {jobs->stay, &jobs->stays, CHOS_STAY_MAX, '\0'};
    const struct key keys[] = {
        {"user_file", take_text, &jobs->user_file, MAY},
        {"memory", take_number, &jobs->memory, MAY},
        {"processes", take_number, &jobs->processes, MAY},
        {"syslog", take_flag, &jobs->syslog, MUST},
        {"file", take_text, &jobs->file, MAY},
        {"stay", take_service, &list, MANY},
    };
    return parse(text, len, "chos-jobs 1", keys, sizeof keys / sizeof *keys);
}

bool chos_jobs_stays(const struct chos_jobs *jobs, const char *service)
{
    for (unsigned i = 0; service != NULL && i < jobs->stays; i++) {
        if (strcmp(jobs->stay[i], service) == 0)
            return true;
    }
    return false;
}
