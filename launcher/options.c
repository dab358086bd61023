/* The command line of chos(1). Pure. The first word that is not an option is the command. */
#include "launcher.h"

#include <string.h>

/* The names that exist. The registry says which of them are prepared on this node. */
static bool is_backend(const char *word)
{
    return chos_backend_named(word, strlen(word)) >= 0 || strcmp(word, "auto") == 0;
}

static bool is_job_starter(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    name += name[0] == '-';   /* batch systems ask for a login shell by a dash before the name */
    return strcmp(name, "chos-job-starter") == 0 || strcmp(name, "job_starter") == 0;
}

static bool take(const char *word, struct options *o)
{
    static const char backend[] = "--backend=";
    if (strncmp(word, backend, sizeof backend - 1) == 0)
        o->backend = word + sizeof backend - 1;
    else if (strcmp(word, "-v") == 0)
        o->verbose = true;
    else if (strcmp(word, "--which") == 0)
        o->mode = WHICH;
    else if (strcmp(word, "--help") == 0)
        o->mode = HELP;
    else if (strcmp(word, "--version") == 0)
        o->mode = VERSION;
    else
        return false;
    return true;
}

int options_parse(int argc, char **argv, struct options *o, struct chos_error *e)
{
    int i = 1;
    memset(o, 0, sizeof *o);
    if (is_job_starter(argv[0])) {
        o->mode = STARTER;
        o->command = argv + 1;
        return argc > 1 ? 0 : chos_fail(e, CHOS_USAGE, 0, argv[0]);
    }
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (!take(argv[i], o))
            return chos_fail(e, CHOS_USAGE, 0, argv[i]);
    }
    o->command = i < argc ? argv + i : NULL;
    if (o->backend != NULL && !is_backend(o->backend))
        return chos_fail(e, CHOS_NO_BACKEND, 0, o->backend);
    return 0;
}
