/* A test runner in one page: CHECK(condition) counts, and shows what failed. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <string.h>

extern int passed, failed;

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
#define CHECK_TEXT(got, wanted) check_text((got), (wanted), __FILE__, __LINE__)

static inline void check(int ok, const char *what, const char *file, int line)
{
    ok ? passed++ : failed++;
    if (!ok)
        printf("%s:%d: failed: %s\n", file, line, what);
}

static inline void check_text(const char *got, const char *wanted, const char *file, int line)
{
    int ok = strcmp(got, wanted) == 0;
    ok ? passed++ : failed++;
    if (!ok)
        printf("%s:%d: got \"%s\", wanted \"%s\"\n", file, line, got, wanted);
}

void test_names(void);
void test_formats(void);
void test_launcher(void);
void test_privs(void);
void test_record(void);

#endif
