/* The account of the real uid, from /etc/passwd only, so that no NSS module is loaded, neither of the base nor of a tree.
 * Accounts of a directory service are not in that file; for them $SHELL, $HOME and the number are used.
 */
#include "launcher.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct account *account(void)
{
    static struct account found;
    static char number[24];
    FILE *passwd = fopen("/etc/passwd", "re");
    struct passwd *entry;
    while (passwd != NULL && (entry = fgetpwent(passwd)) != NULL) {
        if (entry->pw_uid == getuid()) {
            found = (struct account){entry->pw_name, entry->pw_dir, entry->pw_shell};
            return &found;
        }
    }
    struct chos_text t = {number, sizeof number, 0};
    chos_put_number(&t, getuid());
    found = (struct account){number, getenv("HOME"), getenv("SHELL")};
    return &found;
}
