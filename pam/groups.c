/* The groups of the account, as the base's name service gives them before anything is entered.
 *
 * Some hosts (at, EL's crond) call initgroups(3) in the child that has entered, before it becomes the user. Name services read
 * more than /etc: nss_systemd reads /usr/lib/userdb, nss_sss /var/lib/sss, and libc asks nscd's socket. A tree with
 * such files could put its user into any group of the node. So this module acts as the child's name service for groups, and
 * answers what the base said. A library of that name is already loaded (this one, by its soname, see meson.build), so libc
 * searches for no file. This is tested before anything is entered.
 */
#include "pam_chos.h"

#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 1024 };

#define EXPORT __attribute__((visibility("default")))

/* One session at a time, as in moment.c. */
static struct { bool active; char *name; gid_t *groups; int count; } known;

// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): libc's name for it
EXPORT enum nss_status _nss_chos_initgroups_dyn(const char *user, gid_t group, long *start, long *size, gid_t **groups,
                                                long limit, int *err);

/* In the host and in other children: UNAVAIL, so that libc asks the services that the node has configured. In our child, for
 * another user than the session's: not found. */
enum nss_status _nss_chos_initgroups_dyn(const char *user, gid_t group, long *start, long *size, gid_t **groups,
                                         long limit, int *err)
{
    if (!known.active)
        return NSS_STATUS_UNAVAIL;
    if (strcmp(user, known.name) != 0)
        return NSS_STATUS_NOTFOUND;
    for (int i = 0; i < known.count && (limit <= 0 || *start < limit); i++) {
        if (known.groups[i] == group)
            continue;
        if (*start == *size) {
            gid_t *more = realloc(*groups, (size_t)*size * 2 * sizeof **groups);
            if (more == NULL) {
                *err = ENOMEM;
                return NSS_STATUS_TRYAGAIN;
            }
            *groups = more;
            *size *= 2;
        }
        (*groups)[(*start)++] = known.groups[i];
    }
    return NSS_STATUS_SUCCESS;
}

/* The node's services for `initgroups`, otherwise those for `group`. Of the latter all are asked, not only the first that
 * answers. */
static void services(struct chos_text *t)
{
    char line[LINE], *at;
    bool own = false;
    FILE *file = fopen("/etc/nsswitch.conf", "re");
    size_t begin = t->len;
    while (file != NULL && !own && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "#\n")] = '\0';
        char *word = strtok_r(line, " \t:", &at);
        own = word != NULL && strcmp(word, "initgroups") == 0;
        if (!own && (word == NULL || strcmp(word, "group") != 0))
            continue;
        t->len = begin;
        t->buf[begin] = '\0';
        char last = ']';
        while ((word = strtok_r(NULL, " \t:", &at)) != NULL) {
            if (!own && last != ']' && word[0] != '[')
                chos_put(t, " [SUCCESS=continue]");
            chos_put(t, " ");
            chos_put(t, word);
            last = word[strlen(word) - 1];
        }
        if (!own && last != ']')
            chos_put(t, " [SUCCESS=continue]");
    }
    if (file != NULL)
        (void)fclose(file);
    if (t->len == begin)
        chos_put(t, " files");
}

void groups_release(void)
{
    known.active = false;
    free(known.groups);
    free(known.name);
    known.groups = NULL;
    known.name = NULL;
}

int groups_find(const struct passwd *pw, struct person *who)
{
    groups_release();   /* left over from a session that the host never closed */
    *who = (struct person){.uid = pw->pw_uid, .gid = pw->pw_gid, .home = pw->pw_dir};
    return groups_of(pw->pw_name, pw->pw_gid, &who->groups, &who->count);
}

/* After groups_hold, initgroups(3) gets its answer from us. Here we test that this works. */
int groups_prepare(const struct passwd *pw, const struct person *who)
{
    char text[LINE * 2];
    struct chos_text t = {text, sizeof text, 0};
    gid_t *seen = NULL;
    int count = 0;
    groups_release();
    known.name = strdup(pw->pw_name);
    known.groups = calloc((size_t)who->count + 1, sizeof *known.groups);
    if (known.name == NULL || known.groups == NULL)
        return -1;
    memcpy(known.groups, who->groups, (size_t)who->count * sizeof *known.groups);
    known.count = who->count;
    known.active = true;
    chos_put(&t, "chos [!UNAVAIL=return]");
    services(&t);
    /* a group that nobody has: if it is in the answer, the answer came from us */
    known.groups[known.count++] = (gid_t)-2;
    bool ours = __nss_configure_lookup("initgroups", text) == 0 && groups_of(pw->pw_name, pw->pw_gid, &seen, &count) == 0
        && count == known.count && seen[count - 1] == (gid_t)-2;
    known.count--;
    known.active = false;
    free(seen);
    if (!ours)
        groups_release();
    return ours ? 0 : -1;
}

/* False: the groups are not this user's, so a process that enters would ask name services of the tree. */
bool groups_hold(const char *user)
{
    known.active = known.name != NULL && strcmp(known.name, user) == 0;
    return known.active;
}
