/* libFuzzer: the files of the registry. Each is parsed from a buffer of exactly its size; what is accepted keeps
 * every promise of docs/registry.md, and is accepted in no other way: a line more or less is refused.
 */
#include "chos.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

static bool is_variable(const char *s)
{
    return (*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z') || *s == '_';
}

static void policy(char *text, size_t size)
{
    struct chos_policy p;
    if (chos_policy_parse(text, size, &p))
        return;
    MUST(chos_name_is_file(p.name) && p.generation >= 1 && p.generation <= CHOS_GENERATION_MAX);
    MUST(p.setenvs <= CHOS_SETENV_MAX && (p.personality & ~0x20008U) == 0);
    for (unsigned i = 0; i < p.setenvs; i++)
        MUST(is_variable(p.setenv[i]) && strchr(p.setenv[i], '=') != NULL && strchr(p.setenv[i], '\n') == NULL);
}

static void login(char *text, size_t size)
{
    static struct chos_login l;
    if (chos_login_parse(text, size, &l))
        return;
    MUST(l.keeps <= CHOS_KEEP_MAX);
    for (unsigned i = 0; i < l.keeps; i++)
        MUST(is_variable(l.keep[i]) && strpbrk(l.keep[i], "=\n") == NULL);
}

static void base(char *text, size_t size)
{
    struct chos_base b;
    MUST(chos_base_parse(text, size, &b) != 0 || (size < CHOS_FILE_SIZE && memcmp(text, "chos-base 1", 12) == 0));
}

static void jobs(char *text, size_t size)
{
    static struct chos_jobs j;
    if (chos_jobs_parse(text, size, &j))
        return;
    MUST(j.user_file == NULL || (j.user_file[0] != '\0' && strchr(j.user_file, '\n') == NULL));
    MUST(j.file == NULL || (j.file[0] != '\0' && strchr(j.file, '\n') == NULL));
    MUST(j.stays <= CHOS_STAY_MAX);
    for (unsigned i = 0; i < j.stays; i++)
        MUST(j.stay[i][0] != '\0' && strpbrk(j.stay[i], "/\n ") == NULL && chos_jobs_stays(&j, j.stay[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parsers[])(char *, size_t) = {policy, login, base, jobs};
    for (size_t i = 0; i < sizeof parsers / sizeof *parsers; i++) {
        char *text = malloc(size ? size : 1);
        memcpy(text, data, size);
        parsers[i](text, size);
        free(text);
    }
    return 0;
}
