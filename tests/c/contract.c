/* For tests/unit/test_contract.py: says what C makes of what Python wrote.
 *
 * A question is a line `KIND LENGTH` and that many bytes; an answer is one line, `refused` or the values in their
 * order, strings in hexadecimal. It ends with its input.
 */
#include "chos.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(const char *s)
{
    printf(" '");
    for (; *s != '\0'; s++)
        printf("%02x", (unsigned char)*s);
}

static int policy(char *text, size_t len)
{
    struct chos_policy p;
    if (chos_policy_parse(text, len, &p))
        return -1;
    say(p.name);
    printf(" %" PRIu64 " %" PRIu64 " %" PRIu64 " %d %u", p.generation, p.root.dev, p.root.ino, p.no_new_privs, p.personality);
    for (unsigned i = 0; i < p.setenvs; i++)
        say(p.setenv[i]);
    return 0;
}

static int login(char *text, size_t len)
{
    static struct chos_login l;
    if (chos_login_parse(text, len, &l))
        return -1;
    printf(" %d %d", l.bashlogin, l.path);
    for (unsigned i = 0; i < l.keeps; i++)
        say(l.keep[i]);
    return 0;
}

static int jobs(char *text, size_t len)
{
    static struct chos_jobs j;
    if (chos_jobs_parse(text, len, &j))
        return -1;
    say(j.user_file != NULL ? j.user_file : "");
    printf(" %" PRIu64 " %" PRIu64 " %d", j.memory, j.processes, j.syslog);
    say(j.file != NULL ? j.file : "");
    for (unsigned i = 0; i < j.stays; i++)
        say(j.stay[i]);
    return 0;
}

static int base(char *text, size_t len)
{
    struct chos_base b;
    if (chos_base_parse(text, len, &b))
        return -1;
    printf(" %" PRIu64 " %" PRIu64 " %" PRIu64, b.ns, b.root.dev, b.root.ino);
    return 0;
}

static int name(char *text, size_t len)
{
    char file[CHOS_NAME_SIZE];
    if (strlen(text) != len || chos_name_escape(text, file))
        return -1;
    say(file);
    printf(" %d", chos_name_is_file(file));
    return 0;
}

static int link_text(char *text, size_t len)
{
    struct chos_link link;
    if (strlen(text) != len || chos_link_parse(text, &link))
        return -1;
    printf(" %s", link.kind == CHOS_TO_GENERATION ? "generation" : link.kind == CHOS_TO_BASE ? "base" : "name");
    if (link.kind == CHOS_TO_GENERATION)
        printf(" %" PRIu64, link.number);
    link.name[link.kind == CHOS_TO_GENERATION ? link.stem : strlen(link.name)] = '\0';
    say(link.name);
    return 0;
}

int main(void)
{
    static const struct { const char *kind; int (*parse)(char *, size_t); } kinds[] = {
        {"policy", policy}, {"login", login}, {"base", base}, {"jobs", jobs}, {"name", name}, {"link", link_text},
    };
    char kind[16];
    size_t len;
    while (scanf("%15s %zu", kind, &len) == 2 && getchar() == '\n') {
        /* Of exactly its size, for the sanitizers; a name ends with NUL, as in C. */
        bool is_string = strcmp(kind, "name") == 0 || strcmp(kind, "link") == 0;
        char *text = calloc(len + is_string + (len == 0), 1);
        if (text == NULL || fread(text, 1, len, stdin) != len)
            return 1;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            if (strcmp(kind, kinds[i].kind) == 0 && kinds[i].parse(text, len))
                printf(" refused");
        }
        puts("");
        fflush(stdout);
        free(text);
    }
    return 0;
}
