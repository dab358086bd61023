/* The words behind `pam_chos.so` in a pam.d file. Pure. */
#include "pam_chos.h"

#include <string.h>

enum { TIMEOUT = 5, TIMEOUT_MAX = 600 };

/* The value of `KEY=VALUE` where that is the key, else NULL. */
static const char *value_of(const char *word, const char *key)
{
    size_t len = strlen(key);
    return strncmp(word, key, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

static bool take_choice(const char *value, const char *no, const char *yes, bool *to)
{
    *to = strcmp(value, yes) == 0;
    return *to || strcmp(value, no) == 0;
}

static bool take_timeout(const char *value, int *to)
{
    uint64_t number;
    if (chos_number(value, TIMEOUT_MAX, &number) || number == 0)
        return false;
    *to = (int)number;
    return true;
}

static bool take(const char *word, struct pam_options *o)
{
    const char *value;
    if (strcmp(word, "debug") == 0) {
        o->debug = true;
        return true;
    }
    if ((value = value_of(word, "user_conf_file")) != NULL) {
        o->file = value;
        return value[0] != '\0' && value[0] != '/';   /* below the home directory, nowhere else */
    }
    if ((value = value_of(word, "fail_to_default")) != NULL)
        return take_choice(value, "0", "1", &o->fail_to_default);
    if ((value = value_of(word, "onerr")) != NULL)
        return take_choice(value, "base", "deny", &o->deny);
    if ((value = value_of(word, "timeout")) != NULL)
        return take_timeout(value, &o->timeout);
    return false;
}

/* All of them are read, so that `onerr` counts wherever it stands. */
void pam_options_parse(int argc, const char **argv, struct pam_options *o)
{
    *o = (struct pam_options){.file = ".chos", .timeout = TIMEOUT};
    for (int i = 0; i < argc; i++) {
        if (!take(argv[i], o) && o->wrong == NULL)
            o->wrong = argv[i];
    }
}
