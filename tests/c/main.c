#include "check.h"

int passed, failed;

int main(void)
{
    test_names();
    test_formats();
    test_launcher();
    test_privs();
    test_record();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
