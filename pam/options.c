/* The words behind `pam_chos.so` in a pam.d file. Pure. */
#include "pam_chos.h"

#include <string.h>

static bool take(const char *word, struct pam_options *o)
{
    const char *value = option_value(word, "onerr");
    if (value != NULL)
        return option_choice(value, "base", "deny", &o->deny);
    if (strcmp(word, "debug") == 0) {
        o->debug = true;
        return true;
    }
    return choice_take(word, &o->choice);
}

/* All of them are read, so that `onerr` counts wherever it stands. */
void pam_options_parse(int argc, const char **argv, struct pam_options *o)
{
    *o = (struct pam_options){.wrong = NULL};
    choice_default(&o->choice);
    for (int i = 0; i < argc; i++) {
        if (!take(argv[i], o) && o->wrong == NULL)
            o->wrong = argv[i];
    }
}
