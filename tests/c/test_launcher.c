/* The pure parts of the launcher: options, working directory, login environment. */
#include "check.h"
#include "launcher.h"

static struct options o;
static struct chos_error e;

#define PARSE(...) parse((char *[]){__VA_ARGS__, NULL})

static int parse(char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    return options_parse(argc, argv, &o, &e);
}

static void options(void)
{
    CHECK(PARSE("chos") == 0 && o.mode == RUN && o.command == NULL && !o.verbose && o.backend == NULL);
    CHECK(PARSE("chos", "ls", "-v", "--help") == 0 && o.mode == RUN && !o.verbose);
    CHECK_TEXT(o.command[0], "ls");
    CHECK(PARSE("chos", "-v", "--backend=ns", "--", "--help") == 0 && o.verbose && o.mode == RUN);
    CHECK_TEXT(o.command[0], "--help");
    CHECK(PARSE("chos", "--") == 0 && o.command == NULL);
    CHECK(PARSE("chos", "--backend=auto", "x") == 0);
    CHECK(PARSE("chos", "--backend=kmod", "x") == 0);
    CHECK(PARSE("chos", "--backend=userns", "x") == -1 && e.reason == CHOS_NO_BACKEND);
    CHECK(PARSE("chos", "--backend=", "x") == -1);
    CHECK(PARSE("chos", "--backend") == -1 && e.reason == CHOS_USAGE);
    CHECK(PARSE("chos", "-x") == -1 && e.reason == CHOS_USAGE && e.code == 125);
    CHECK(PARSE("chos", "-") == -1);
    CHECK(PARSE("chos", "") == 0 && o.command != NULL);
    CHECK(PARSE("chos", "--help") == 0 && o.mode == HELP);
    CHECK(PARSE("chos", "--version") == 0 && o.mode == VERSION);
    CHECK(PARSE("chos", "--which") == 0 && o.mode == WHICH);
    CHECK(PARSE("/x/job_starter", "--help", "-v") == 0 && o.mode == STARTER);
    CHECK_TEXT(o.command[0], "--help");
    CHECK(PARSE("chos-job-starter") == -1 && e.reason == CHOS_USAGE);
    CHECK(PARSE("-chos-job-starter", "x") == 0 && o.mode == STARTER);
    CHECK(PARSE("my_job_starter", "x") == 0 && o.mode == RUN);
}

static void working_directory(void)
{
    CHECK_TEXT(workdir_map("/local/home/u", true), "/home/u");
    CHECK_TEXT(workdir_map("/local", true), "/");
    CHECK_TEXT(workdir_map("/local/", true), "/");
    CHECK_TEXT(workdir_map("/locals/x", true), "/locals/x");
    CHECK_TEXT(workdir_map("/home/local", true), "/home/local");
    CHECK_TEXT(workdir_map("/local/x", false), "/local/x");
    CHECK_TEXT(workdir_map("", true), "");
}

static void login_variables(void)
{
    static char text[] = "chos-login 1\nbashlogin=0\npath=1\nkeep=HOME\nkeep=PATH\nkeep=GONE\nkeep=CHOS\n";
    static char text2[] = "chos-login 1\nbashlogin=0\npath=0\nkeep=PATH\n";
    static struct chos_login login;
    char *from[] = {"LD_PRELOAD=x", "PATH=/evil", "CHOS=el9", "HOMES=1", "HOME=/home/u", "HOME=/second", NULL};
    char *to[CHOS_KEEP_MAX + 2];
    CHECK(chos_login_parse(text, strlen(text), &login) == 0);
    CHECK(login_environment(&login, from, to) == 3 && to[3] == NULL);
    CHECK_TEXT(to[0], "PATH=/bin:/usr/bin:/usr/local/bin");
    CHECK_TEXT(to[1], "HOME=/home/u");
    CHECK_TEXT(to[2], "CHOS=el9");
    CHECK(chos_login_parse(text2, strlen(text2), &login) == 0);
    CHECK(login_environment(&login, from, to) == 1);
    CHECK_TEXT(to[0], "PATH=/evil");
}

static bool is(int backend, const char *name)
{
    return backend >= 0 && strcmp(chos_backend_name(backend), name) == 0;
}

static void backends(void)
{
    CHECK(is(chos_backend_parse("ns", NULL), "ns") && is(chos_backend_parse("kmod", NULL), "kmod"));
    CHECK(is(chos_backend_parse("kmod,ns", NULL), "kmod") && is(chos_backend_parse("kmod,ns", "auto"), "kmod"));
    CHECK(is(chos_backend_parse("kmod,ns", "ns"), "ns") && is(chos_backend_parse("ns,kmod", "kmod"), "kmod"));
    CHECK(chos_backend_parse("ns", "kmod") == -1 && chos_backend_parse("kmod", "ns") == -1);
    CHECK(chos_backend_parse("", NULL) == -1 && chos_backend_parse("userns", NULL) == -1);
    CHECK(chos_backend_parse("nsx,kmodx", "ns") == -1 && chos_backend_parse("ns,kmod", "n") == -1);
    /* A name that the node lists and this program has no row for. */
    CHECK(chos_backend_parse("userns,ns", NULL) == -1 && chos_backend_parse("userns,ns", "userns") == -1);
    CHECK(chos_backend_parse("ns,kmod", "") == -1 && chos_backend_parse(",", NULL) == -1);
}

void test_launcher(void)
{
    options();
    working_directory();
    login_variables();
    backends();
}
