/* The files of the registry, and the text of messages. */
#include "check.h"
#include "chos.h"

#include <stdlib.h>
#include <time.h>

#define POLICY "chos-policy 1\nname=el9\ngeneration=7\nroot=52 1\nno_new_privs=0\n"
#define LOGIN "chos-login 1\nbashlogin=1\npath=0\n"

static struct chos_policy policy;
static struct chos_login login;
static struct chos_base base;
static char *copy;

/* A copy of exactly this size, so that the address sanitizer sees a read beyond its end. */
static char *text(const char *s, size_t len)
{
    free(copy);
    copy = malloc(len ? len : 1);
    memcpy(copy, s, len);
    return copy;
}

static int policy_of(const char *s)
{
    return chos_policy_parse(text(s, strlen(s)), strlen(s), &policy);
}

static int login_of(const char *s)
{
    return chos_login_parse(text(s, strlen(s)), strlen(s), &login);
}

static int base_of(const char *s)
{
    return chos_base_parse(text(s, strlen(s)), strlen(s), &base);
}

static void policies(void)
{
    static const char *const refused[] = {
        "", "\n", "chos-policy 1", "chos-policy 1\n", "chos-policy 2\nname=el9\ngeneration=7\nroot=52 1\nno_new_privs=0\n",
        "name=el9\ngeneration=7\nroot=52 1\nno_new_privs=0\n", POLICY "name=el9\n", POLICY "unknown=1\n", POLICY "\n",
        POLICY "# comment\n", POLICY "setenv\n", POLICY "setenv=A=b", POLICY "setenv=1A=b\n", POLICY "setenv==b\n",
        POLICY "setenv=A\n", POLICY "setenv=A-B=c\n", POLICY " setenv=A=b\n", POLICY "personality=\n",
        POLICY "personality=linux64\n", POLICY "personality=uname26,linux32\n",
        POLICY "personality=linux32\npersonality=linux32\n", POLICY "=\n", POLICY "name\n",
        "chos-policy 1\nname=el9\ngeneration=7\nroot=52 1\nno_new_privs=2\n",
        "chos-policy 1\nname=el9\ngeneration=7\nroot=52 1\nno_new_privs=01\n",
        "chos-policy 1\nname=el9\ngeneration=7\nroot=52 1\nno_new_privs=\n",
        "chos-policy 1\nname=el9\ngeneration=7\nroot=52\nno_new_privs=0\n",
        "chos-policy 1\nname=el9\ngeneration=7\nroot=52  1\nno_new_privs=0\n",
        "chos-policy 1\nname=el9\ngeneration=7\nroot=52 1 2\nno_new_privs=0\n",
        "chos-policy 1\nname=el9\ngeneration=0\nroot=52 1\nno_new_privs=0\n",
        "chos-policy 1\nname=el9\ngeneration=1234567890\nroot=52 1\nno_new_privs=0\n",
        "chos-policy 1\nname=../x\ngeneration=7\nroot=52 1\nno_new_privs=0\n",
        "chos-policy 1\nname=el9\ngeneration=7\nroot=52 1\n", "chos-policy 1\ngeneration=7\nroot=52 1\nno_new_privs=0\n",
    };
    CHECK(policy_of(POLICY) == 0 && policy.generation == 7 && policy.root.dev == 52 && policy.root.ino == 1);
    CHECK(!policy.no_new_privs && policy.personality == 0 && policy.setenvs == 0);
    CHECK_TEXT(policy.name, "el9");
    CHECK(policy_of(POLICY "personality=linux32,uname26\nsetenv=A=b=c\nsetenv=_B2=\n") == 0 && policy.setenvs == 2);
    CHECK(policy.personality == 0x20008);
    CHECK_TEXT(policy.setenv[0], "A=b=c");
    CHECK_TEXT(policy.setenv[1], "_B2=");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        CHECK(policy_of(refused[i]) == -1);
}

static void limits(void)
{
    static char big[CHOS_FILE_SIZE + 1] = POLICY;
    for (int i = 0; i < CHOS_SETENV_MAX; i++)
        strcat(big, "setenv=A=b\n");
    CHECK(policy_of(big) == 0 && policy.setenvs == CHOS_SETENV_MAX);
    strcat(big, "setenv=A=b\n");
    CHECK(policy_of(big) == -1);

    static const char nul[] = POLICY "setenv=A=b\0c\n";
    CHECK(chos_policy_parse(text(nul, sizeof nul - 1), sizeof nul - 1, &policy) == -1);

    strcpy(big, POLICY "setenv=A=");
    size_t len = strlen(big);
    memset(big + len, 'x', sizeof big - len);
    big[CHOS_FILE_SIZE - 2] = '\n';
    CHECK(chos_policy_parse(text(big, CHOS_FILE_SIZE - 1), CHOS_FILE_SIZE - 1, &policy) == 0);
    big[CHOS_FILE_SIZE - 2] = 'x';
    big[CHOS_FILE_SIZE - 1] = '\n';
    CHECK(chos_policy_parse(text(big, CHOS_FILE_SIZE), CHOS_FILE_SIZE, &policy) == -1);

    strcpy(big, LOGIN);
    for (int i = 0; i < CHOS_KEEP_MAX; i++)
        strcat(big, "keep=A\n");
    CHECK(login_of(big) == 0 && login.keeps == CHOS_KEEP_MAX);
    strcat(big, "keep=A\n");
    CHECK(login_of(big) == -1);
}

static void logins_and_bases(void)
{
    CHECK(login_of(LOGIN "keep=CHOS\nkeep=_x1\n") == 0 && login.bashlogin && !login.path && login.keeps == 2);
    CHECK_TEXT(login.keep[1], "_x1");
    CHECK(login_of("chos-login 1\npath=1\nbashlogin=0\n") == 0 && login.path && login.keeps == 0);
    CHECK(login_of("chos-login 1\npath=1\n") == -1);
    CHECK(login_of(LOGIN "keep=A=b\n") == -1);
    CHECK(login_of(LOGIN "keep=\n") == -1);
    CHECK(login_of(LOGIN "path=0\n") == -1);

    CHECK(base_of("chos-base 1\nns=4026531841\nroot=66305 2\n") == 0 && base.ns == 4026531841 && base.root.ino == 2);
    CHECK(base_of("chos-base 1\nns=4026531841\n") == -1);
    CHECK(base_of("chos-base 1\nns=\nroot=66305 2\n") == -1);
    CHECK(base_of("chos-base 1\nns=1\nroot=66305 -2\n") == -1);
    CHECK(base_of("chos-policy 1\nns=1\nroot=1 2\n") == -1);
}

static struct chos_jobs jobs;

static int jobs_of(const char *s)
{
    return chos_jobs_parse(text(s, strlen(s)), strlen(s), &jobs);
}

static void job_settings(void)
{
    CHECK(jobs_of("chos-jobs 1\nsyslog=0\n") == 0 && !jobs.syslog && jobs.user_file == NULL && jobs.file == NULL);
    CHECK(jobs.memory == 0 && jobs.processes == 0);
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nuser_file=.chos\nmemory=4294967296\nprocesses=9\nfile=/a b\n") == 0);
    CHECK(jobs.syslog && jobs.memory == 4294967296 && jobs.processes == 9);
    CHECK_TEXT(jobs.user_file, ".chos");
    CHECK_TEXT(jobs.file, "/a b");
    CHECK(jobs_of("chos-jobs 1\n") == -1);
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nfile=\n") == -1);
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nmemory=4G\n") == -1);
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nmemory=1\nmemory=1\n") == -1);
}

static void services_that_stay(void)
{
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\n") == 0 && jobs.stays == 0 && !chos_jobs_stays(&jobs, "sudo"));
    CHECK(jobs_of("chos-jobs 1\nstay=sudo\nsyslog=1\nstay=sudo-i\n") == 0 && jobs.stays == 2);
    CHECK(chos_jobs_stays(&jobs, "sudo") && chos_jobs_stays(&jobs, "sudo-i"));
    CHECK(!chos_jobs_stays(&jobs, "sudo-") && !chos_jobs_stays(&jobs, "sud") && !chos_jobs_stays(&jobs, "sshd"));
    CHECK(!chos_jobs_stays(&jobs, "") && !chos_jobs_stays(&jobs, NULL));
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nstay=\n") == -1);
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nstay=Sudo\n") == -1);
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nstay=../sudo\n") == -1);
    CHECK(jobs_of("chos-jobs 1\nsyslog=1\nstay=su do\n") == -1);
    char many[CHOS_FILE_SIZE] = "chos-jobs 1\nsyslog=1\n";
    struct chos_text t = {many, sizeof many, strlen(many)};
    for (unsigned i = 0; i < CHOS_STAY_MAX; i++)
        chos_put(&t, "stay=a\n");
    CHECK(jobs_of(many) == 0 && jobs.stays == CHOS_STAY_MAX);
    chos_put(&t, "stay=a\n");
    CHECK(jobs_of(many) == -1);
}

static void time_is(uint64_t seconds, const char *wanted)
{
    char buf[32] = "";
    struct chos_text t = {buf, sizeof buf, 0};
    chos_put_time(&t, seconds);
    CHECK_TEXT(buf, wanted);
}

static void times(void)
{
    time_is(0, "1970-01-01T00:00:00Z");
    time_is(951782399, "2000-02-28T23:59:59Z");
    time_is(951782400, "2000-02-29T00:00:00Z");
    time_is(1709251199, "2024-02-29T23:59:59Z");
    time_is(1709251200, "2024-03-01T00:00:00Z");
    time_is(4107542400, "2100-03-01T00:00:00Z");
    time_is(1795248000, "2026-11-21T08:00:00Z");
    time_is(1798761599, "2026-12-31T23:59:59Z");
    for (uint64_t s = 86399; s < 8000000000; s += 86400 * 13 + 3601) {
        time_t then = (time_t)s;
        char wanted[32];
        struct tm parts;
        strftime(wanted, sizeof wanted, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&then, &parts));
        time_is(s, wanted);
    }
}

static void messages(void)
{
    char buf[700], small[8];
    struct chos_text t = {buf, sizeof buf, 0}, s = {small, sizeof small, 0};
    struct chos_error e;
    CHECK(chos_fail(&e, CHOS_UNKNOWN, 0, "a\x1b[2J\nb\\\xc2\x9b" "c") == -1 && e.code == 125);
    chos_error_text(&e, &t);
    CHECK_TEXT(buf, "a\\x1b[2J\\x0ab\\x5c\\xc2\\x9bc: no such environment on this node\n"
               "      `chosctl list` shows what you may enter\n");
    t.len = 0;
    chos_fail(&e, CHOS_NOT_PREPARED, 0, "x");
    memcpy(e.detail, "why\x07", 5);
    chos_error_text(&e, &t);
    CHECK_TEXT(buf, "x: could not be prepared on this node: why\\x07\n      an administrator must correct this and run `chosctl up`\n");
    for (unsigned r = 0; r < CHOS_REASONS; r++) {
        chos_fail(&e, (enum chos_reason)r, 0, "x");
        CHECK(e.message != NULL && e.hint != NULL && e.code >= 125 && e.code <= 127);
    }
    memset(buf, 'y', sizeof buf - 1);
    chos_fail(&e, CHOS_UNKNOWN, 0, buf);
    CHECK(strlen(e.object) == sizeof e.object - 1);
    chos_put(&s, "12345");
    chos_put_number(&s, 18446744073709551615U);
    CHECK_TEXT(small, "1234518");
    chos_put_safe(&s, "more");
    CHECK_TEXT(small, "1234518");
}

void test_formats(void)
{
    policies();
    limits();
    logins_and_bases();
    job_settings();
    services_that_stay();
    times();
    messages();
    free(copy);
}
