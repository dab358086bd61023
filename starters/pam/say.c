/* Messages of pam_job_starter's second program, to the job's standard error. */
#include "session.h"

#include <stdio.h>
#include <unistd.h>

void tell(const char *object, const char *text)
{
    char line[2048];
    size_t n = (size_t)snprintf(line, sizeof line, "chos: %.256s%s%.1500s\n", object ? object : "", object ? ": " : "", text);
    for (size_t i = 0; i + 1 < n; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    }
    ssize_t done = write(2, line, n);
    (void)done;   /* if it fails, nobody could be told */
}

_Noreturn void refuse(const char *object, const char *why)
{
    tell(object, why);
    _exit(FAILED);
}
