/* chos --which: what a login would get here, and who chose it. */
#include "launcher.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOTFILE_MAX = 4096 };

static char word[DOTFILE_MAX + 1];

/* The first word of ~/.chos. A FIFO must not hang us, nor a device or a huge file. */
static bool read_dotfile(void)
{
    static char path[4096];
    struct chos_text t = {path, sizeof path, 0};
    struct stat st;
    const char *home = getenv("HOME");
    chos_put(&t, home != NULL ? home : "");
    chos_put(&t, "/.chos");
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || read(fd, word, DOTFILE_MAX) < 0)
        word[0] = '\0';
    close(fd);
    size_t blank = strspn(word, " \t\r\n");
    memmove(word, word + blank, sizeof word - blank);
    word[strcspn(word, " \t\r\n")] = '\0';
    return word[0] != '\0';
}

const char *which_name(const char **source)
{
    const char *chos = getenv("CHOS");
    *source = chos != NULL && chos[0] != '\0' ? "$CHOS" : read_dotfile() ? "~/.chos" : "default";
    return (*source)[0] == '$' ? chos : (*source)[0] == '~' ? word : "default";
}

/* We are in the registry, without privilege: what we may not read, we may not enter. */
void which_report(struct chos_session *s)
{
    static char tree[CHOS_FILE_SIZE + 1];
    const char *source, *name = which_name(&source);
    struct chos_error e;
    int rc = chos_choose(s, name, &e) || chos_find(s, &e);
    if (rc != 0 && e.reason == CHOS_UNKNOWN && source[0] == 'd') {
        tell("name        none\nsource      neither $CHOS, ~/.chos nor an environment `default`\n");
        tell_end(1);
        _exit(0);
    }
    bool base = rc == 0 && s->target.kind == CHOS_TO_BASE;
    if (rc != 0 || (!base && chos_file_read("tree", tree, &e) < 0))
        die(&e);
    tree[strcspn(tree, "\n")] = '\0';
    const char *const rows[][2] = {
        {"name        ", name}, {"generation  ", base ? "none, this is the base" : s->target.name},
        {"backend     ", "ns"}, {"tree        ", base ? "/" : tree}, {"source      ", source},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tell(rows[i][0]);
        tell_safe(rows[i][1]);
        tell("\n");
    }
    tell_end(1);
    _exit(0);
}
