/* What chos prints for its user: errors, help, versions. */
#include "launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAMES_SHOWN = 40 };

enum { OUT_SIZE = 16384 };
static struct chos_text out;

void *room(size_t size)
{
    struct chos_error e;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages != MAP_FAILED)
        return pages;
    chos_fail(&e, CHOS_SYSTEM, errno, "memory");
    die(&e);
}

/* Without memory the message is cut off. */
static struct chos_text *text_out(void)
{
    static char few[256];
    if (out.buf == NULL) {
        void *pages = mmap(NULL, OUT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        out.buf = pages != MAP_FAILED ? pages : few;
        out.size = pages != MAP_FAILED ? OUT_SIZE : sizeof few;
    }
    return &out;
}

void tell(const char *text)
{
    chos_put(text_out(), text);
}

void tell_safe(const char *untrusted)
{
    chos_put_safe(text_out(), untrusted);
}

void tell_end(int fd)
{
    if (out.len > 0 && out.len + 1 >= out.size)   /* it was cut */
        out.buf[out.len - 1] = '\n';
    ssize_t n = write(fd, out.buf, out.len);
    (void)n;   /* if it fails, nobody could be told */
    out.len = 0;
}

static void tell_known(void)
{
    DIR *dir = opendir(CHOS_REGISTRY "/env");
    struct dirent *entry;
    int n = 0;
    while (dir != NULL && n < NAMES_SHOWN && (entry = readdir(dir)) != NULL) {
        if (!chos_name_is_plain(entry->d_name))
            continue;
        tell(n++ == 0 ? "      known here: " : ", ");
        tell(entry->d_name);
    }
    tell(n == 0 ? "" : n < NAMES_SHOWN ? "\n" : ", ...\n");
}

/* Drops privilege first, so that no message contains anything that the user could not read. */
void die(struct chos_error *e)
{
    struct chos_error kept;
    if (chos_privs_drop(false, &kept))
        *e = kept;
    tell("chos: ");
    chos_error_text(e, text_out());
    if (e->reason == CHOS_UNKNOWN)
        tell_known();
    tell_end(2);
    _exit(e->code);
}

void report_help(void)
{
    tell("usage: CHOS=NAME chos [--backend=");
    for (int i = 0; chos_backend_name(i) != NULL; i++) {
        tell(chos_backend_name(i));
        tell("|");
    }
    tell("auto] [-v] [--] [COMMAND [ARGUMENT...]]\n"
         "       chos --which | --help | --version\n\n"
         "Runs COMMAND, or a login shell, in the environment NAME. CHOS=root leads back to the base.\n\n"
         "  --backend=B  how to enter, or auto: the node's own way\n"
         "  -v           say on stderr what was entered, and how\n"
         "  --which      what would be entered, and who chose it: $CHOS, ~/.chos or `default`\n\n"
         "Exit status: 125 chos failed, 126 COMMAND cannot be executed, 127 it is not there, else its own.\n"
         "`chosctl list` shows the environments that you may enter.\n");
    tell_end(1);
    _exit(0);
}

void report_version(void)
{
    char module[256];
    int fd = open("/proc/chos/version", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, module, sizeof module - 1) : 0;
    module[n > 0 ? n : 0] = '\0';
    module[strcspn(module, "\n")] = '\0';
    tell("chos " CHOS_VERSION "\n");
    if (module[0] != '\0') {
        tell("kernel module: ");
        tell_safe(module);
        tell("\n");
    }
    tell_end(1);
    _exit(0);
}
