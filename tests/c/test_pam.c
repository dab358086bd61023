/* The pure parts of pam_chos.so: its options, and the first word of a file that anybody may have written. */
#include "check.h"
#include "pam_chos.h"

#include <stdlib.h>

int passed, failed;

static struct pam_options parse(const char *one, const char *two)
{
    const char *words[] = {one, two};
    struct pam_options o;
    pam_options_parse(two != NULL ? 2 : one != NULL ? 1 : 0, words, &o);
    return o;
}

static void test_options(void)
{
    static const char *const wrong[] = {
        "", "=", "debug=1", "Debug", "onerr", "onerr=", "onerr=Deny", "onerr=deny ", "fail_to_default", "fail_to_default=2",
        "fail_to_default=01", "user_conf_file=", "user_conf_file=/etc/shadow", "user_conf_files=x", "timeout", "timeout=",
        "enter", "enter=", "enter=maybe", "enter=Fork", "timeout=0", "timeout=-1", "timeout=05", "timeout=601", "timeout=99999999999999999999", "timeout=5s", "use_first_pass",
    };
    struct pam_options o = parse(NULL, NULL);
    CHECK_TEXT(o.choice.file, ".chos");
    CHECK(!o.choice.fail_to_default && !o.deny && !o.debug && o.choice.timeout == 5 && o.wrong == NULL);
    o = parse("user_conf_file=a/b", "timeout=600");
    CHECK_TEXT(o.choice.file, "a/b");
    CHECK(o.choice.timeout == 600 && o.wrong == NULL);
    o = parse("fail_to_default=1", "debug");
    CHECK(o.choice.fail_to_default && o.debug && o.wrong == NULL);
    CHECK(!parse("fail_to_default=1", "fail_to_default=0").choice.fail_to_default);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        o = parse(wrong[i], "onerr=deny");   /* which counts though it comes after */
        CHECK(o.wrong == wrong[i] && o.deny && o.choice.timeout == 5);
    }
    CHECK(!parse(NULL, NULL).moment_said && !parse("enter=maybe", NULL).moment_said);
    CHECK(parse("enter=fork", NULL).moment_said && parse("enter=fork", NULL).moment == AT_FORK);
    CHECK(parse("enter=setcred", NULL).moment == AT_SETCRED && parse("enter=no", NULL).moment == NEVER);
    o = parse("first", "second");
    CHECK_TEXT(o.wrong, "first");
}

static void test_moments(void)
{
    static const char *const fork_hosts[] = {"su", "su-l", "runuser", "runuser-l", "sudo", "sudo-i", "login", "remote", "crond", "atd"};
    for (size_t i = 0; i < sizeof fork_hosts / sizeof *fork_hosts; i++)
        CHECK(moment_of_service(fork_hosts[i]) == AT_FORK);
    CHECK(moment_of_service("jobstarter") == BY_HOST && parse("enter=host", NULL).moment == BY_HOST);
    CHECK(moment_of_service("sshd") == AT_SETCRED && moment_of_service("cron") == AT_SETCRED);
    CHECK(moment_of_service("") == NEVER && moment_of_service("systemd-user") == NEVER && moment_of_service("gdm") == NEVER);
}

/* Words with a blank between them. */
static bool ask(const char *line, bool (*says_so)(const char *, size_t))
{
    char text[256];
    size_t n = strlen(line);
    memcpy(text, line, n + 1);
    for (char *p = text; *p != '\0'; p++) {
        if (*p == ' ')
            *p = '\0';
    }
    return says_so(text, n + 1);
}

static bool edits(const char *line)
{
    return ask(line, sudo_line_edits);
}

static void test_sudo(void)
{
    static const char *const yes[] = {
        "sudoedit f", "/usr/bin/sudoedit -u bob f", "sudo -e f", "sudo -u bob -e f", "sudo -ubob -e f", "sudo -ne f", "sudo -nu bob -e f",
        "sudo --edit f", "sudo --ed f", "sudo sudoedit f", "sudo -u bob /usr/bin/sudoedit f", "sudo --user bob --edit f", "sudo --us bob -e f", "sudo --new-option word -e f", "sudo --user=bob --edit f", "sudo A=b -e f", "sudo -C 3 -e f", "/opt/bin/sudo -En -e",
        "sudo -- sudoedit f", "sudo -u bob -- /usr/bin/sudoedit f", "sudo /tmp/a=b/sudoedit f", "sudo -- /tmp/a=b/sudoedit f", "sudo =/sudoedit f",
        "sudo A=b sudoedit f", "sudo --new-option sudoedit f", "sudo --new-option word sudoedit f", "sudo -p sudoedit ls", "sudo -- A=b /x/sudoedit",
    };
    static const char *const no[] = {
        "sudo", "sudo ls -e", "sudo -u bob ls -e", "sudo -u -e ls", "sudo -ue ls", "sudo -- -e", "sudo -n -- ls --edit", "sudo A=b ls -e",
        "sudo --user bob ls", "sudo -i", "sudo - -e", "sudo ls xsudoedit", "sudo ls sudoedit/x", "sudo -- A=sudoedit", "sudo -s", "sudo --login ls -e", "sudo --preserve-env ls -e",
    };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        CHECK(edits(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        CHECK(!edits(no[i]));
    CHECK(ask("A=b SHELL=/x/sudoedit", sudo_variables_edit) && ask("SHELL=sudoedit SHELL=/bin/sh", sudo_variables_edit));
    CHECK(!ask("", sudo_variables_edit) && !ask("SHELL=/bin/sh XSHELL=sudoedit SHELL=", sudo_variables_edit));
}

/* Of a command line with blanks between its words: the group, or "" where there is none. */
static const char *group_of(const char *line, bool options_first)
{
    static char text[256];
    size_t n = strlen(line);
    memcpy(text, line, n + 1);
    for (char *p = text; p < text + n; p++) {
        if (*p == ' ')
            *p = '\0';
    }
    const char *group = su_line_group(text, n + 1, options_first);
    return group != NULL ? group : "";
}

static void test_su(void)
{
    static const char *const lines[][2] = {
        {"su", ""}, {"su alice", ""}, {"su -g a alice", "a"}, {"su alice -ga -c id", "a"}, {"su -lga alice", "a"}, {"su -G a -G b alice", "a"},
        {"su -G a -g b alice", "b"}, {"su -g a -g b", "b"}, {"su --group=a", "a"}, {"su --gr a", "a"}, {"su --supp-group a --pty", "a"},
        {"su --su=a", "a"}, {"su alice -- -g a", ""}, {"su alice -c -g", ""}, {"su -c -ga alice", ""}, {"su --command -ga alice", ""},
        {"su --session-command=-ga alice", ""}, {"su -s -g a", ""}, {"su - alice -g", ""}, {"runuser -u alice -g a -- id -g b", "a"},
        {"runuser --user alice id", ""}, {"su --shell -g a", ""}, {"su -w -g a", ""}, {"su --pty alice -g a", "a"}, {"su -Pga", "a"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        CHECK(strcmp(group_of(lines[i][0], false), lines[i][1]) == 0);
    CHECK(group_of("su alice -g a", true)[0] == '\0' && strcmp(group_of("su -l -g a alice -g b", true), "a") == 0);
}

/* The word of these bytes, in a buffer of exactly their size: the sanitizer sees one byte more. */
static void word_is(const char *bytes, size_t n, const char *wanted, size_t length)
{
    char *text = malloc(n + (n == 0));
    memcpy(text, bytes, n);
    const char *word = text;
    size_t len = chos_dotfile_word(&word, n);
    CHECK(len == length && (size_t)(word - text) + len <= n && memcmp(word, wanted, len) == 0);
    free(text);
}

static void test_words(void)
{
    word_is("", 0, "", 0);
    word_is("el9", 3, "el9", 3);
    word_is("el9\n", 4, "el9", 3);
    word_is(" \t\r\n\v\f el9 el8\n", 16, "el9", 3);
    word_is("  \n", 3, "", 0);
    word_is("a\0b c", 5, "a\0b", 3);
    word_is("\0", 1, "\0", 1);
    word_is("\xff\xfe", 2, "\xff\xfe", 2);
    srand(1);
    for (int i = 0; i < 20000; i++) {
        char bytes[64];
        size_t n = (size_t)rand() % sizeof bytes;
        for (size_t k = 0; k < n; k++)
            bytes[k] = " \n\ta\0\xff"[rand() % 6];
        const char *word = bytes;
        size_t len = chos_dotfile_word(&word, n);
        bool blank = false;
        for (size_t k = 0; k < len; k++)
            blank = blank || strchr(" \n\t", word[k] != '\0' ? word[k] : 'a') != NULL;
        if (word < bytes || word + len > bytes + n || blank)
            CHECK(!"a word within the text, without blanks");
    }
}

int main(void)
{
    test_options();
    test_moments();
    test_sudo();
    test_su();
    test_words();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
