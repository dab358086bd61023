/* The options after `pam_chos.so` in a pam.d file. Pure. */
#include "pam_chos.h"

#include <string.h>

/* When the process of a known host enters. Most: at the first fork, because that child opens nothing as root before it becomes
 * the user. sshd and Debian's cron: at pam_setcred(3), because their child asks for groups and credentials before.
 * pam_chos(8) has this table too. A service that is not listed is unknown, and its sessions stay on the base. */
static const struct { const char *service; enum moment moment; } services[] = {
    {"sshd", AT_SETCRED}, {"su", AT_FORK}, {"su-l", AT_FORK}, {"runuser", AT_FORK}, {"runuser-l", AT_FORK}, {"sudo", AT_FORK},
    {"sudo-i", AT_FORK}, {"login", AT_FORK}, {"remote", AT_FORK}, {"cron", AT_SETCRED}, {"crond", AT_FORK}, {"atd", AT_FORK},
    {"jobstarter", BY_HOST},
};

enum moment moment_of_service(const char *service)
{
    for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
        if (strcmp(services[i].service, service) == 0)
            return services[i].moment;
    }
    return NEVER;
}

static bool take_moment(const char *value, struct pam_options *o)
{
    static const char *const words[] = {[AT_FORK] = "fork", [AT_SETCRED] = "setcred", [BY_HOST] = "host", [NEVER] = "no"};
    for (o->moment = AT_FORK; o->moment < NEVER && strcmp(value, words[o->moment]) != 0; o->moment++)
        ;
    o->moment_said = strcmp(value, words[o->moment]) == 0;
    return o->moment_said;
}

static bool take(const char *word, struct pam_options *o)
{
    const char *value = option_value(word, "onerr");
    if (value != NULL)
        return option_choice(value, "base", "deny", &o->deny);
    if ((value = option_value(word, "enter")) != NULL)
        return take_moment(value, o);
    if (strcmp(word, "debug") == 0) {
        o->debug = true;
        return true;
    }
    return choice_take(word, &o->choice);
}

/* Reads all options even after an unknown one, so that `onerr` is respected wherever it stands. */
void pam_options_parse(int argc, const char **argv, struct pam_options *o)
{
    *o = (struct pam_options){.wrong = NULL};
    choice_default(&o->choice);
    for (int i = 0; i < argc; i++) {
        if (!take(argv[i], o) && o->wrong == NULL)
            o->wrong = argv[i];
    }
}
