/* Records: one line for each entry, whatever its fields hold. */
#include "check.h"
#include "chos.h"

#include <stdlib.h>
#include <unistd.h>

/* Writes two records with such fields and returns what is in the file then. */
static const char *two_records(const char *field)
{
    static char text[16384];
    char path[] = "/tmp/chos-record-XXXXXX";
    const struct chos_entry entry = {4294967295U, field, field, field, field, field};
    ssize_t n = 0;
    int reader = mkstemp(path);
    for (int i = 0; i < 2; i++) {
        struct chos_record record = {-1, dup(reader)};
        chos_record_write(&record, &entry);
        CHECK(record.log == -1 && record.file == -1);
    }
    if (reader >= 0) {
        n = pread(reader, text, sizeof text - 1, 0);
        unlink(path);
        close(reader);
    }
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

static void whole_lines(const char *field, unsigned shown)
{
    const char *text = two_records(field), *second = strchr(text, '\n');
    CHECK(second != NULL && strncmp(text, "time=", 5) == 0 && strncmp(second + 1, "time=", 5) == 0);
    CHECK(count(text, "\n") == 2 && text[strlen(text) - 1] == '\n');
    CHECK(count(text, " pid=") == 2 && count(text, " job=") == 2);
    CHECK(strspn(strstr(text, " job=") + 5, "abcdefghijklmnopqrstuvwxyz0123456789\\_-") >= shown);
}

void test_record(void)
{
    char field[4096];
    whole_lines("alice", 5);
    whole_lines("", 1);
    for (size_t len = 150; len <= 300; len++) {
        memset(field, 'a', len);
        field[len] = '\0';
        whole_lines(field, len < CHOS_NAME_SIZE ? (unsigned)len : CHOS_NAME_SIZE - 1);
    }
    memset(field, '\n', sizeof field - 1);
    field[sizeof field - 1] = '\0';
    whole_lines(field, CHOS_NAME_SIZE - 4);
}
