/* Which environment a user wants, and where that name comes from. It is only a name: the registry says whether there is one. */
#include "host.h"

/* False: this source names nothing. A value that is too long for a name is cut off, and is then refused as a name. */
bool wish_take(struct wish *wish, enum wish_source source, const char *value)
{
    struct chos_text t = {wish->name, sizeof wish->name, 0};
    wish->source = source;
    wish->name[0] = '\0';
    chos_put(&t, value != NULL ? value : "");
    return wish->name[0] != '\0';
}

/* What the user's file names; without a file or a word in it, `default`. -1: an error, described in `why`. */
int wish_take_file(struct wish *wish, const struct person *who, const struct choice *choice, struct chos_text *why)
{
    wish->source = BY_FILE;
    int found = dotfile_read(who, choice, wish->name, why);
    if (found == 0)
        (void)wish_take(wish, BY_NOBODY, "default");
    return found < 0 ? -1 : 0;
}

/* The user chose nothing, and the administrator offers no `default`: that is no error. */
bool wish_is_nothing(const struct wish *wish, const struct chos_error *e)
{
    return wish->source == BY_NOBODY && (e->reason == CHOS_UNKNOWN || e->reason == CHOS_NO_REGISTRY);
}

/* Whether `default` may replace it if no environment has that name. Not if the user named one for this job (--chos=). */
bool wish_may_fall_back(const struct wish *wish, const struct choice *choice)
{
    return choice->fail_to_default && (wish->source == BY_VARIABLE || wish->source == BY_FILE);
}

bool wish_has_no_environment(const struct chos_error *e)
{
    return e->reason == CHOS_UNKNOWN || e->reason == CHOS_ILLEGAL;
}
