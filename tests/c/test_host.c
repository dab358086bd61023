/* Becoming a user and applying a policy (libchos/host/), with a kernel of our own: it may not do what it says. */
#include "check.h"
#include "host.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <unistd.h>

int passed, failed;

enum lie { HONEST, NO_GROUPS, NO_GID, NO_UID, KEEPS_SAVED_UID, KEEPS_SAVED_GID, KEEPS_GROUPS, WAY_BACK, LIES };

static enum lie lie;
static uid_t uids[3];
static gid_t gids[3];
static int groups;
static char order[8];

static void note(const char *step)
{
    strcat(order, step);
}

static long set(unsigned ids[3], unsigned id, bool keeps_saved)
{
    ids[0] = ids[1] = id;
    ids[2] = keeps_saved ? ids[2] : id;
    return 0;
}

static long refuse(int err)
{
    errno = err;
    return -1;
}

static long fake_syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    unsigned id = number == RAW_SETGROUPS ? (unsigned)va_arg(list, size_t) : va_arg(list, unsigned);
    va_end(list);
    switch (number) {
    case RAW_SETGROUPS:
        note("g");
        if (lie == NO_GROUPS)
            return refuse(ENOMEM);
        groups = lie == KEEPS_GROUPS ? groups : (int)id;
        return 0;
    case RAW_SETRESGID:
        note("i");
        return lie == NO_GID ? refuse(EPERM) : set(gids, id, lie == KEEPS_SAVED_GID);
    case RAW_SETRESUID:
        note("u");
        return lie == NO_UID ? refuse(EAGAIN) : set(uids, id, lie == KEEPS_SAVED_UID);
    default:
        note("?");
        return lie == WAY_BACK ? 0 : refuse(EPERM);
    }
}

static int fake_ids(unsigned *real, unsigned *effective, unsigned *saved, const unsigned ids[3])
{
    *real = ids[0];
    *effective = ids[1];
    *saved = ids[2];
    return 0;
}

#define syscall fake_syscall
#define getresuid(r, e, s) fake_ids((r), (e), (s), uids)
#define getresgid(r, e, s) fake_ids((r), (e), (s), gids)
#define getgroups(n, list) (groups)
#define identity_take tested_take
#define identity_take_ids tested_take_ids
int tested_take(const struct person *who);
int tested_take_ids(const struct person *who);
#include "../../libchos/host/identity.c"
#undef syscall
#undef getgroups

static int take(enum lie how, uid_t uid)
{
    const struct person who = {.uid = uid, .gid = 20, .count = 2};
    memset(uids, 0, sizeof uids);
    memset(gids, 0, sizeof gids);
    groups = 7;
    lie = how;
    order[0] = '\0';
    return tested_take(&who);
}

static void test_identity(void)
{
    static const int wanted[LIES] = {0, ENOMEM, EPERM, EAGAIN, EPERM, EPERM, EPERM, EPERM};
    for (int how = HONEST; how < LIES; how++)
        CHECK(take((enum lie)how, 1000) == wanted[how]);
    CHECK(take(HONEST, 1000) == 0);
    CHECK_TEXT(order, "giu?");
    CHECK(take(NO_GROUPS, 1000) == ENOMEM);
    CHECK_TEXT(order, "g");
    CHECK(take(WAY_BACK, 0) == 0);   /* root stays root: there is no way back to ask for */
    CHECK_TEXT(order, "giu");
    lie = HONEST;
    order[0] = '\0';
    CHECK(tested_take_ids(&(struct person){.uid = 5, .gid = 5}) == 0);
    CHECK_TEXT(order, "iu?");
}

static int room_needed, times;

static int fake_getgrouplist(const char *name, gid_t gid, gid_t *list, int *count)
{
    (void)name;
    times++;
    if (*count < room_needed) {
        *count = times > 20 ? *count : room_needed;
        return -1;
    }
    for (int i = 0; i < room_needed; i++)
        list[i] = gid + (gid_t)i;
    *count = room_needed;
    return room_needed;
}

#define getgrouplist fake_getgrouplist
#define groups_of tested_groups_of
int tested_groups_of(const char *name, gid_t gid, gid_t **found, int *count);
#include "../../libchos/host/groups.c"

static void test_groups(void)
{
    static const int numbers[] = {0, 1, 64, 65, 4000, 65536};
    gid_t *list;
    int count;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        room_needed = numbers[i];
        times = 0;
        CHECK(tested_groups_of("alice", 9, &list, &count) == 0 && count == numbers[i] && times <= 2);
        CHECK(count == 0 || (list[0] == 9 && list[count - 1] == 9 + (gid_t)count - 1));
        free(list);
    }
    room_needed = 65537;   /* more than the kernel takes */
    CHECK(tested_groups_of("alice", 9, &list, &count) == -1);
}

static unsigned long personality_now, refused;
static int no_new_privs;

static int fake_personality(unsigned long wanted)
{
    unsigned long before = personality_now;
    if (wanted == refused)
        return (int)refuse(EPERM);
    if (wanted != 0xffffffff)
        personality_now = wanted;
    return (int)before;
}

static int fake_prctl(int what, unsigned long value)
{
    if (refused == 1)
        return (int)refuse(EINVAL);
    no_new_privs += what == PR_SET_NO_NEW_PRIVS && value == 1;
    return 0;
}

#define personality(wanted) fake_personality(wanted)
#define prctl(what, value, ...) fake_prctl((what), (value))
#define entry_apply tested_apply
int tested_apply(const struct chos_policy *policy, struct chos_error *e);
#include "../../libchos/host/entry.c"

static int apply(unsigned wanted, bool no_new, unsigned long refusal, struct chos_error *e)
{
    const struct chos_policy policy = {.personality = wanted, .no_new_privs = no_new};
    personality_now = 0x40000;   /* the bit of another setting, which stays */
    no_new_privs = 0;
    refused = refusal;
    return tested_apply(&policy, e);
}

static void test_policy(void)
{
    struct chos_error e;
    CHECK(apply(0, false, 0, &e) == 0 && personality_now == 0x40000 && no_new_privs == 0);
    CHECK(apply(8, false, 0, &e) == 0 && personality_now == 0x40008 && no_new_privs == 0);
    CHECK(apply(0, true, 0, &e) == 0 && personality_now == 0x40000 && no_new_privs == 1);
    CHECK(apply(8, true, 0xffffffff, &e) == -1 && no_new_privs == 0);
    CHECK_TEXT(e.object, "personality");
    CHECK(apply(8, true, 0x40008, &e) == -1 && e.err == EPERM && no_new_privs == 0);
    CHECK(apply(0, true, 1, &e) == -1 && e.err == EINVAL);
    CHECK_TEXT(e.object, "no_new_privs");
}

static void test_wish(void)
{
    static const enum chos_reason none[] = {CHOS_UNKNOWN, CHOS_ILLEGAL}, other[] = {CHOS_NO_REGISTRY, CHOS_DENIED, CHOS_STRANDED, CHOS_SYSTEM};
    struct wish wish = {BY_FILE, "x"};
    struct chos_error error = {.reason = CHOS_UNKNOWN};
    const struct choice falls = {.fail_to_default = true}, stays = {.fail_to_default = false};
    char file[CHOS_NAME_SIZE], text[2 * CHOS_NAME_SIZE];
    CHECK(!wish_take(&wish, BY_OPTION, NULL) && !wish_take(&wish, BY_OPTION, "") && wish_take(&wish, BY_VARIABLE, "el9"));
    CHECK_TEXT(wish.name, "el9");
    for (size_t n = CHOS_NAME_SIZE - 1; n < sizeof text; n++) {   /* cut off, it is no name */
        memset(text, 'a', n);
        text[n] = '\0';
        CHECK(wish_take(&wish, BY_VARIABLE, text) && chos_name_escape(wish.name, file) == -1);
        text[0] = '/';
        CHECK(wish_take(&wish, BY_VARIABLE, text) && chos_name_escape(wish.name, file) == -1);
    }
    for (int source = BY_NOBODY; source <= BY_FILE; source++) {
        CHECK(wish_take(&wish, (enum wish_source)source, "el9") && wish_is_nothing(&wish, &error) == (source == BY_NOBODY));
        CHECK(wish_may_fall_back(&wish, &falls) == (source == BY_VARIABLE || source == BY_FILE) && !wish_may_fall_back(&wish, &stays));
    }
    for (size_t i = 0; i < 2; i++)
        CHECK(wish_has_no_environment(&(struct chos_error){.reason = none[i]}));
    for (size_t i = 0; i < 4; i++)
        CHECK(!wish_has_no_environment(&(struct chos_error){.reason = other[i]}));
    (void)wish_take(&wish, BY_NOBODY, "default");
    for (size_t i = 0; i < 4; i++)
        CHECK(wish_is_nothing(&wish, &(struct chos_error){.reason = other[i]}) == (i == 0));
}

int main(void)
{
    test_wish();
    test_identity();
    test_groups();
    test_policy();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
