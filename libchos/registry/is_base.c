/* How to recognise the base: its mount namespace and its root directory, as the registry's file `base` says. */
#include "registry/registry.h"

#include <errno.h>
#include <sys/stat.h>

enum { BASE_SIZE = 256 };   /* `base` has three lines, with three numbers */

int chos_base_read(struct chos_session *s, struct chos_error *e)
{
    char text[BASE_SIZE];
    long len = chos_fault("base") ? chos_fail(e, CHOS_SYSTEM, errno, "base") : chos_file_read(s, "base", text, sizeof text, e);
    if (len < 0)
        return -1;
    return len < BASE_SIZE && chos_base_parse(text, (size_t)len, &s->base) == 0 ? 0
        : chos_fail(e, CHOS_CORRUPT, 0, CHOS_REGISTRY "/base");
}

bool chos_in_base(const struct chos_session *s)
{
    struct stat st;
    return stat("/proc/self/ns/mnt", &st) == 0 && st.st_ino == s->base.ns;
}

bool chos_root_is(const struct chos_root *root)
{
    struct stat st;
    return !chos_fault("root") && stat("/", &st) == 0 && st.st_dev == root->dev && st.st_ino == root->ino;
}
