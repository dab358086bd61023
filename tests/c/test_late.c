/* Who enters late is the user, and nobody else: late.c. */
#include "check.h"
#include "host.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int passed, failed;

/* Root has not become anybody yet; a process that is another user's would have the kernel judge by that one. */
static void test_identity(void)
{
    static struct chos_session s;
    static const uid_t others[] = {0, 4711};
    struct chos_error e;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct person who = {.uid = others[i]};
        CHECK(late_enter(&s, &who, "root", &e) == -1);
        CHECK_TEXT(e.object, "entering as the user");
        CHECK(e.code == 125);
    }
}

static void test_keep(void)
{
    struct chos_error e;
    CHECK(late_keep(&e) == 0 && prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 1);
}

static void test_directory(void)
{
    char path[PATH_MAX], gone[] = "/tmp/test-late-XXXXXX";
    CHECK(chdir("/") == 0);
    late_directory(path);
    CHECK_TEXT(path, "/");
    CHECK(mkdtemp(gone) != NULL && chdir(gone) == 0 && rmdir(gone) == 0);
    late_directory(path);
    CHECK_TEXT(path, "");
}

int main(void)
{
    test_identity();
    test_keep();
    test_directory();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
