/* Names of environments: what a user may ask for, and the file name that stands for it in env/.
 *
 * Pure. A name is never used as a path: the result has no slash and does not begin with a dot.
 */
#include "chos.h"

#include <string.h>

static const char safe_bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
static const char hex[] = "0123456789ABCDEF";

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
bool chos_name_is_plain(const char *name)
{
    size_t len = strspn(name, safe_bytes);
    return len >= 1 && len <= 64 && name[len] == '\0' && strchr("._-", name[0]) == NULL;
}

/* A plain name, or exactly the text that chos_name_escape makes of an absolute path. */
bool chos_name_is_file(const char *name)
{
    if (chos_name_is_plain(name))
        return true;
    if (strncmp(name, "%2F", 3) != 0 || strlen(name) >= CHOS_NAME_SIZE)
        return false;
    for (const char *p = name; *p != '\0'; p++) {
        if (*p != '%') {
            if (strchr(safe_bytes, *p) == NULL)
                return false;
            continue;
        }
        const char *high = p[1] ? strchr(hex, p[1]) : NULL;
        const char *low = high && p[2] ? strchr(hex, p[2]) : NULL;
        if (low == NULL)
            return false;
        int byte = (int)((high - hex) << 4 | (low - hex));
        if (byte == 0 || byte == '\n' || strchr(safe_bytes, byte) != NULL)
            return false;
        p += 2;
    }
    return true;
}

int chos_name_escape(const char *alias, char file[CHOS_NAME_SIZE])
{
    if (alias[0] != '/' && !chos_name_is_plain(alias))
        return -1;
    size_t len = 0;
    for (const char *p = alias; *p != '\0'; p++) {
        unsigned char byte = (unsigned char)*p;
        bool safe = strchr(safe_bytes, byte) != NULL;
        if (byte == '\n' || len + (safe ? 1 : 3) >= CHOS_NAME_SIZE)
            return -1;
        if (safe) {
            file[len++] = *p;
        } else {
            file[len++] = '%';
            file[len++] = hex[byte >> 4];
            file[len++] = hex[byte & 15];
        }
    }
    file[len] = '\0';
    return 0;
}
