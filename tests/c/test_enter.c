/* The loop of libchos/enter, driven with a false kernel: whatever happens beside it and whatever fails, a process is inside what
 * its user may enter now, or where it was.
 */
#include "check.h"
#include "chos.h"
#include "world.h"

int passed, failed;

static struct chos_session s;
static struct chos_error e;
static const char *backend;
static int asked;   /* the number of the call before a root host was asked for the last time */

/* A host that is root asks this; for others the kernel refuses. */
static int permit(const struct chos_session *session, void *context, struct chos_error *error)
{
    int number = (int)session->target.number;
    (void)context;
    asked = world.calls;
    return world.generation[number - 1].closed ? chos_fail(error, CHOS_DENIED, 0, session->alias) : 0;
}

static int enter(const char *name)
{
    return chos_session_enter(&s, name, world.root ? permit : NULL, NULL, &e);
}

static bool is_in(int generation)
{
    return strcmp(backend, "ns") == 0 ? process.ns == FIRST_NS + generation : process.ns == BASE && process.tree == generation;
}

static bool is_back(int ns, int tree)
{
    long root = tree >= 0 ? TREE_ROOT + tree : ns >= FIRST_NS ? FIRST_ROOT + ns : BASE_ROOT;
    return process.ns == ns && process.tree == tree && process.root == root && process.cwd == HOME;
}

/* --- what happens beside it --- */

static void publish(bool keep_old)
{
    int next = world.current + 1;
    world.generation[next] = (struct generation){.there = true, .known = true};
    world.generation[world.current].there = keep_old;
    world.generation[world.current].known = keep_old;
    world.current = next;
}

static void renewed(void)
{
    publish(true);
}

static void replaced(void)
{
    publish(false);
}

static void closed(void)
{
    world.generation[world.current].closed = true;
}

static void tightened(void)
{
    publish(true);
    world.generation[world.current].tight = true;
}

static void taken_down(void)
{
    world.generation[world.current].there = world.generation[world.current].known = false;
    world.gone = true;
}

static void opened_anew(void)   /* closed, and another one published that is open */
{
    world.generation[world.current].closed = true;
    publish(true);
}

static void forgotten(void)
{
    world.generation[world.current].known = false;
}

static const struct { const char *name; void (*event)(void); } events[] = {
    {"renewed", renewed}, {"replaced", replaced}, {"closed", closed}, {"tightened", tightened}, {"down", taken_down},
    {"opened", opened_anew}, {"forgotten", forgotten},
};

/* Where a process may begin: the base, a service with mounts of its own, older and younger than the pins, another
 * generation, and below the module's root directory. */
static const struct { int ns, tree; bool seen; } places[] = {
    {BASE, -1, true}, {PRIVATE, -1, true}, {PRIVATE, -1, false}, {FIRST_NS + 7, -1, true}, {BASE, 7, true}, {PRIVATE, 7, false},
};
enum { PLACES = sizeof places / sizeof *places, EVENTS = sizeof events / sizeof *events };

static void begin(int place, bool root)
{
    world_begin(places[place].ns, places[place].tree);
    world.seen_from_private = places[place].seen;
    world.root = root;
    world.backends = backend;
    world.generation[7].there = world.generation[7].known = true;
    memset(&e, 0, sizeof e);
}

static void say(const char *what, int place, bool root, int at)
{
    printf("   %s, %s, place %d, root %d, call %d: %s\n", backend, what, place, root, at, e.message != NULL ? e.message : "");
}

/* The promise, whatever was done to it. `at`: the number of the call beside which the event happened. */
static bool keeps_promise(int place, int rc, int at, bool is_tight)
{
    if (open_files() != 0)
        return false;
    if (rc != 0)
        return e.reason == CHOS_STRANDED || is_back(places[place].ns, places[place].tree);
    int in = (int)s.target.number - 1;
    if (!is_in(in) || process.cwd != ROOT_DIRECTORY || world.looked == 0 || world.policy_read == 0)
        return false;
    if (at > world.looked)   /* after it looked for the last time */
        return true;
    if (in != world.current || world.gone || (world.generation[in].closed && !(world.root && at > asked)))
        return false;
    return !is_tight || s.policy.no_new_privs;
}

static void test_first_try(void)
{
    for (int place = 0; place < PLACES; place++) {
        for (int root = 0; root < 2; root++) {
            begin(place, root);
            CHECK(enter("el9") == 0 && is_in(0) && keeps_promise(place, 0, 0, false) && !s.policy.no_new_privs);
            CHECK_TEXT(s.target.name, "el9.1");
            begin(place, root);
            CHECK(enter("root") == 0 && process.ns == BASE && process.tree == -1 && open_files() == 0);
            begin(place, root);
            CHECK(enter("nobody") == -1 && e.reason == CHOS_UNKNOWN && is_back(places[place].ns, places[place].tree));
            begin(place, root);
            CHECK(enter("../el9") == -1 && e.reason == CHOS_ILLEGAL && is_back(places[place].ns, places[place].tree));
        }
    }
}

/* Each event beside each call. */
static void test_events(void)
{
    for (int i = 0; i < EVENTS * PLACES * 2; i++) {
        int event = i / (PLACES * 2), place = i / 2 % PLACES, rc = -1, last = 1;
        bool root = i % 2 == 1, kept = true, inside = false, refused = false;
        for (int at = 1; at <= last && kept; at++) {
            begin(place, root);
            world.event = events[event].event;
            world.event_at = at;
            rc = enter("el9");
            last = world.calls;
            kept = keeps_promise(place, rc, at, events[event].event == tightened);
            if (!kept)
                say(events[event].name, place, root, at);
            /* Another generation is there and open: nobody is refused. */
            bool open = !world.gone && !world.generation[world.current].closed && world.generation[world.current].known;
            if (open && rc != 0) {
                say(events[event].name, place, root, at);
                kept = false;
            }
            inside = inside || rc == 0;
            refused = refused || rc != 0;
        }
        CHECK(kept && inside);
        CHECK(refused == (events[event].event == closed || events[event].event == taken_down
                          || (events[event].event == forgotten && strcmp(backend, "kmod") == 0)));
    }
}

/* Each call fails, in each way. It may be that the process cannot go back; then it must be told so, for it has to end. */
static void test_failures(void)
{
    static const int errors[] = {EINTR, EMFILE, ENFILE, EACCES, EPERM, ENOENT, ENOSYS, ENOMEM, EIO, EINVAL};
    int stranded = 0, entered = 0;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        for (int place = 0; place < PLACES * 2; place++) {
            bool kept = true;
            int last = 1;
            for (int at = 1; at <= last && kept; at++) {
                begin(place / 2, place % 2);
                world.fail_at = at;
                world.fail_with = errors[i];
                int rc = enter("el9");
                last = world.calls;
                kept = keeps_promise(place / 2, rc, 0, false);
                stranded += rc != 0 && e.reason == CHOS_STRANDED;
                entered += rc == 0;
                if (!kept)
                    say(strerror(errors[i]), place / 2, place % 2, at);
            }
            CHECK(kept);
        }
    }
    CHECK(stranded < entered);
}

/* Few free descriptors: it enters, or says why not, and is where it was. */
static void test_descriptors(void)
{
    for (int place = 0; place < PLACES; place++) {
        bool entered = false;
        for (int room = 0; room < 8; room++) {
            begin(place, false);
            world.room = room;
            int rc = enter("el9");
            CHECK(keeps_promise(place, rc, 0, false));
            if (rc != 0 && e.err != EMFILE && e.reason != CHOS_STRANDED)
                say("descriptors", place, false, room);
            CHECK(rc == 0 || e.err == EMFILE || e.reason == CHOS_STRANDED);
            CHECK(rc != 0 || room >= 4);
            CHECK(!entered || rc == 0);
            entered = entered || rc == 0;
        }
        CHECK(entered);
    }
}

/* An environment that is renewed without end is given up, where the process was. */
static void always_renewed(void)
{
    replaced();
    world.event_at = world.calls + 4;
}

static void test_end(void)
{
    begin(0, false);
    world.event = always_renewed;
    world.event_at = 8;
    int rc = enter("el9");
    CHECK(keeps_promise(0, rc, 0, false) && (rc == 0 || e.reason == CHOS_RETIRED));
}

int main(void)
{
    static const char *const backends[] = {"ns", "kmod"};
    for (size_t i = 0; i < 2; i++) {
        backend = backends[i];
        test_first_try();
        test_events();
        test_failures();
        test_descriptors();
        test_end();
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
