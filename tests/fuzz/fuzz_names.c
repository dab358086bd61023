/* libFuzzer: what a user types, and what a link in env/ says.
 *
 * What is accepted as a name becomes a legal file name that has no way out of its directory, has one spelling,
 * and means the same to the function that checks what Python wrote.
 */
#include "chos.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

static void unescape(const char *file, char *alias)
{
    for (; *file != '\0'; file++, alias++) {
        char byte[] = {file[0] == '%' ? file[1] : 0, file[0] == '%' ? file[2] : 0, 0};
        *alias = file[0] == '%' ? (char)strtol(byte, NULL, 16) : *file;
        file += file[0] == '%' ? 2 : 0;
    }
    *alias = '\0';
}

static void legal_file(const char *file)
{
    char alias[CHOS_NAME_SIZE], again[CHOS_NAME_SIZE];
    MUST(strlen(file) < CHOS_NAME_SIZE && strchr(file, '/') == NULL && file[0] != '.' && file[0] != '\0');
    MUST(chos_name_is_file(file));
    unescape(file, alias);
    MUST(chos_name_escape(alias, again) == 0 && strcmp(again, file) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char file[CHOS_NAME_SIZE], message[CHOS_FILE_SIZE], *s = malloc(size + 1);
    struct chos_link link;
    struct chos_text t = {message, sizeof message, 0};
    memcpy(s, data, size);
    s[size] = '\0';
    if (chos_name_escape(s, file) == 0)
        legal_file(file);
    if (chos_name_is_file(s))
        legal_file(s);
    if (chos_link_parse(s, &link) == 0 && link.kind != CHOS_TO_BASE) {
        if (link.kind == CHOS_TO_GENERATION) {
            MUST(link.number > 0 && link.name[link.stem] == '.' && strcmp(s + strlen("../gen/"), link.name) == 0);
            link.name[link.stem] = '\0';
        }
        legal_file(link.name);
    }
    chos_put_safe(&t, s);
    for (size_t i = 0; i < t.len; i++)
        MUST(message[i] >= ' ' && message[i] < 0x7f);
    free(s);
    return 0;
}
