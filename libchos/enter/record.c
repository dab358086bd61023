/* One line for each entry: user, service, environment, job. It goes to syslog and, if the site asks for it, to a file.
 *
 * A process that is root opens both before it enters, because root must open nothing inside. If a record cannot be
 * written, the entry continues without it.
 */
#include "sys/sys.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS_A_DAY = 86400, LINE = 2048 };   /* five fields of 255 bytes, with keys and separators */

static int open_log(const char *root)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct chos_text path = {to.sun_path, sizeof to.sun_path, 0};
    chos_put(&path, root);
    chos_put(&path, "/dev/log");
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* No O_CREAT: the administrator creates the file and so sets its permissions. */
static int open_file(const char *root, const char *file)
{
    char name[CHOS_FILE_SIZE];
    struct chos_text path = {name, sizeof name, 0};
    struct stat st;
    chos_put(&path, root);
    chos_put(&path, file);
    int fd = chos_openat2(name, O_WRONLY | O_APPEND | O_NOFOLLOW, RESOLVE_MAGICLINKS_NO);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

void chos_record_open(struct chos_record *r, const struct chos_jobs *jobs, const char *root)
{
    r->log = jobs->syslog ? open_log(root) : -1;
    r->file = jobs->file != NULL ? open_file(root, jobs->file) : -1;
}

static void put_padded(struct chos_text *t, unsigned number, unsigned digits)
{
    for (unsigned least = 10; digits > 1; least *= 10, digits--) {
        if (number < least)
            chos_put(t, "0");
    }
    chos_put_number(t, number);
}

/* UTC, ISO 8601. Not gmtime(3), because glibc's opens the file of the time zone. The calculation uses years that begin in
 * March, so that a leap day is the last day of a year. */
void chos_put_time(struct chos_text *t, uint64_t seconds)
{
    uint64_t day = seconds / SECONDS_A_DAY + 719468;   /* since 0000-03-01 */
    unsigned rest = (unsigned)(seconds % SECONDS_A_DAY);
    unsigned era = (unsigned)(day / 146097), of_era = (unsigned)(day % 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned march = (5 * of_year + 2) / 153, month = march < 10 ? march + 3 : march - 9;
    put_padded(t, year + era * 400 + (month <= 2), 4);
    chos_put(t, "-");
    put_padded(t, month, 2);
    chos_put(t, "-");
    put_padded(t, of_year - (153 * march + 2) / 5 + 1, 2);
    chos_put(t, "T");
    put_padded(t, rest / 3600, 2);
    chos_put(t, ":");
    put_padded(t, rest / 60 % 60, 2);
    chos_put(t, ":");
    put_padded(t, rest % 60, 2);
    chos_put(t, "Z");
}

/* The value must be one word, because readers split the line at blanks. */
static void put_field(struct chos_text *t, const char *key, const char *value)
{
    char word[CHOS_NAME_SIZE];
    struct chos_text safe = {word, sizeof word, 0};
    chos_put_safe(&safe, value != NULL && value[0] != '\0' ? value : "-");
    for (char *p = word; *(p += strcspn(p, " =")) != '\0';)
        *p = '_';
    chos_put(t, key);
    chos_put(t, word);
}

static void put_entry(struct chos_text *t, const struct chos_entry *entry)
{
    put_field(t, " user=", entry->user);
    chos_put(t, " uid=");
    chos_put_number(t, entry->uid);
    put_field(t, " environment=", entry->environment);
    put_field(t, " generation=", entry->generation);
    put_field(t, " service=", entry->service);
    put_field(t, " job=", entry->job);
    chos_put(t, " pid=");
    chos_put_number(t, (uint64_t)getpid());
}

/* Writing beyond RLIMIT_FSIZE would kill this process with SIGXFSZ. */
static bool has_room(int fd, size_t more)
{
    struct rlimit most;
    struct stat st;
    return getrlimit(RLIMIT_FSIZE, &most) == 0 && fstat(fd, &st) == 0
        && (most.rlim_cur == RLIM_INFINITY || (uint64_t)st.st_size + more <= most.rlim_cur);
}

/* <86> is the facility authpriv with the level info (RFC 3164). */
void chos_record_write(struct chos_record *r, const struct chos_entry *entry)
{
    char line[LINE] = "";
    struct chos_text t = {line, sizeof line, 0};
    struct timespec now = {0, 0};
    if (r->log >= 0) {
        chos_put(&t, "<86>chos:");
        put_entry(&t, entry);
        (void)!send(r->log, line, t.len, MSG_NOSIGNAL);
    }
    if (r->file >= 0) {
        t.len = 0;
        clock_gettime(CLOCK_REALTIME, &now);
        chos_put(&t, "time=");
        chos_put_time(&t, (uint64_t)now.tv_sec);
        put_entry(&t, entry);
        if (t.len > sizeof line - 2)   /* truncated: end the line all the same, so that the next record begins a new one */
            t.len = sizeof line - 2;
        chos_put(&t, "\n");
        if (has_room(r->file, t.len))
            (void)!write(r->file, line, t.len);
    }
    chos_record_close(r);
}

void chos_record_close(struct chos_record *r)
{
    if (r->log >= 0)
        close(r->log);
    if (r->file >= 0)
        close(r->file);
    r->log = r->file = -1;
}
