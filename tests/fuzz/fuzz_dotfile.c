/* libFuzzer: what users write into ~/.chos, and administrators behind pam_chos.so.
 *
 * The word of a text lies within it, is its first and has no blank in it. Options: what is accepted is in the ranges that
 * the manual gives, and a list names the first word that is none.
 */
#include "pam_chos.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS = 64 };

#define MUST(condition) ((condition) ? (void)0 : abort())

static bool is_blank(char c)
{
    return c != '\0' && strchr(" \t\n\v\f\r", c) != NULL;
}

static void word(const char *text, size_t size)
{
    const char *first = text;
    size_t len = chos_dotfile_word(&first, size);
    MUST(first >= text && first + len <= text + size);
    for (const char *p = text; p < first; p++)
        MUST(is_blank(*p));
    for (size_t i = 0; i < len; i++)
        MUST(!is_blank(first[i]));
    MUST(first + len == text + size || is_blank(first[len]));
    MUST(len > 0 || first == text + size);
}

static void list(int count, const char **words)
{
    struct pam_options o;
    pam_options_parse(count, words, &o);
    int wrong = 0;
    while (wrong < count && words[wrong] != o.wrong)
        wrong++;
    MUST((o.wrong == NULL) == (wrong == count));
    MUST(o.choice.timeout >= 1 && o.choice.timeout <= 600);
    for (int i = 0; i < wrong; i++) {
        struct pam_options one;
        pam_options_parse(1, words + i, &one);
        MUST(one.wrong == NULL && (one.choice.file[0] != '/' && one.choice.file[0] != '\0'));
        MUST(strcmp(words[i], "onerr=deny") != 0 || one.deny);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *words[WORDS];
    int count = 0;
    char *text = malloc(size ? size : 1), *line = malloc(size + 1), *at = NULL;
    memcpy(text, data, size);
    word(text, size);
    free(text);
    memcpy(line, data, size);
    line[size] = '\0';
    for (char *next = strtok_r(line, " \n", &at); next != NULL && count < WORDS; next = strtok_r(NULL, " \n", &at))
        words[count++] = next;
    list(count, words);
    free(line);
    return 0;
}
