/* Giving up privilege: the kernel's answer counts. Here the kernel is ours, and lies. */
#include "check.h"
#include "chos.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel says there is after capset, and whether it lets us become root. */
static uint32_t left[6];
static int capset_fails, capget_fails, becomes_root, asked_capset, asked_capget, asked_setuid, no_new_privs;
static uid_t who;

static long fake_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    (void)va_arg(arguments, void *);
    void *sets = number == SYS_capset || number == SYS_capget ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    asked_capset += number == SYS_capset;
    asked_capget += number == SYS_capget;
    asked_setuid += number == SYS_setuid;
    if (number == SYS_capget)
        memcpy(sets, left, sizeof left);
    errno = EPERM;
    return number == SYS_capset ? -capset_fails : number == SYS_capget ? -capget_fails : becomes_root ? 0 : -1;
}

static int fake_prctl(int what, unsigned long value)
{
    no_new_privs += what == PR_SET_NO_NEW_PRIVS && value == 1;
    return 0;
}

/* The code itself, with our kernel, and with names of its own: libchos is in this program, too. */
#define syscall fake_syscall
#define prctl(what, value, ...) fake_prctl((what), (unsigned long)(value))
#define getuid() who
#define geteuid() who
#define chos_privs_missing tested_missing
#define chos_privs_reduce tested_reduce
#define chos_privs_drop tested_drop
enum chos_reason tested_missing(void);
int tested_reduce(struct chos_error *e);
int tested_drop(bool no_new_privs, struct chos_error *e);
#include "../../libchos/sys/privs.c"

/* Whether anything was set, when the kernel says that this is what we have. */
static bool reduces(void)
{
    struct chos_error e;
    int before = asked_capset;
    CHECK(tested_reduce(&e) == 0);
    return asked_capset > before;
}

/* Nothing is set where we have exactly the three; one more of any kind, or one less, is. */
static void test_reduce(void)
{
    const uint32_t three = 1U << 18 | 1U << 19 | 1U << 21;
    who = 1000;
    memset(left, 0, sizeof left);
    left[0] = left[1] = three;
    CHECK(!reduces());
    for (int word = 0; word < 6; word++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            left[word] ^= 1U << bit;
            CHECK(reduces());
            left[word] ^= 1U << bit;
        }
    }
    capget_fails = 1;
    CHECK(reduces());
    capget_fails = 0;
    memset(left, 0, sizeof left);
    asked_capset = asked_capget = 0;
}

void test_privs(void)
{
    struct chos_error e;
    test_reduce();
    who = 1000;
    CHECK(tested_drop(false, &e) == 0 && asked_capset == 1 && asked_capget == 1 && asked_setuid == 1 && no_new_privs == 0);
    CHECK(tested_drop(true, &e) == 0 && no_new_privs == 1);
    for (int word = 0; word < 6; word++) {   /* effective, permitted and inheritable, of the first and the second 32 */
        for (unsigned bit = 0; bit < 32; bit++) {
            left[word] = 1U << bit;
            CHECK(tested_drop(false, &e) == -1 && e.reason == CHOS_KEPT_PRIVILEGE);
        }
        left[word] = 0;
    }
    CHECK(tested_drop(false, &e) == 0);
    capget_fails = 1;
    CHECK(tested_drop(false, &e) == -1 && e.reason == CHOS_KEPT_PRIVILEGE);
    capget_fails = 0;
    capset_fails = 1;
    CHECK(tested_drop(false, &e) == -1 && e.reason == CHOS_KEPT_PRIVILEGE);
    capset_fails = 0;
    becomes_root = 1;
    CHECK(tested_drop(false, &e) == -1 && e.reason == CHOS_KEPT_PRIVILEGE);
    who = 0;   /* who is root stays so, and may have capabilities, but none that is in use or handed on */
    for (int word = 0; word < 6; word++) {
        left[word] = 1;
        CHECK(tested_drop(false, &e) == (word % 3 == 1 ? 0 : -1));
        left[word] = 0;
    }
    no_new_privs = 0;
    CHECK(tested_drop(true, &e) == 0 && no_new_privs == 1);
}
