/* The options that pam.d files and plugstack.conf have in common. Pure. */
#include "host.h"

#include <string.h>

enum { TIMEOUT = 5, TIMEOUT_MAX = 600 };

void choice_default(struct choice *c)
{
    *c = (struct choice){.file = ".chos", .timeout = TIMEOUT};
}

/* The value of `KEY=VALUE` if `word` has this key, otherwise NULL. */
const char *option_value(const char *word, const char *key)
{
    size_t len = strlen(key);
    return strncmp(word, key, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

bool option_choice(const char *value, const char *no, const char *yes, bool *to)
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

/* Whether `word` is one of these options with a valid value; if so, `c` gets the value. */
bool choice_take(const char *word, struct choice *c)
{
    const char *value;
    if ((value = option_value(word, "user_conf_file")) != NULL) {
        c->file = value;
        return value[0] != '\0' && value[0] != '/';   /* below the home directory, nowhere else */
    }
    if ((value = option_value(word, "fail_to_default")) != NULL)
        return option_choice(value, "0", "1", &c->fail_to_default);
    return (value = option_value(word, "timeout")) != NULL && take_timeout(value, &c->timeout);
}
