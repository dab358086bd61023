/* Names, their escaped form, links. */
#include "check.h"
#include "chos.h"

static void plain_names(void)
{
    static const char longest[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char *const legal[] = {"el9", "sl6.4", "A", "0", "a-b_c.d", "a..", longest};
    static const char *const illegal[] = {"", ".", "..", ".a", "-a", "_a", "a/b", "/a", "a b", "a\n", "a%2F", "\xc3\xa9",
        "a\x1b", "a:b"};
    char too_long[sizeof longest + 1] = "a";
    strcat(too_long, longest);
    for (size_t i = 0; i < sizeof legal / sizeof *legal; i++)
        CHECK(chos_name_is_plain(legal[i]) && chos_name_is_file(legal[i]));
    for (size_t i = 0; i < sizeof illegal / sizeof *illegal; i++)
        CHECK(!chos_name_is_plain(illegal[i]) && !chos_name_is_file(illegal[i]));
    CHECK(strlen(longest) == 64 && !chos_name_is_plain(too_long));
}

static void escaping(void)
{
    char file[CHOS_NAME_SIZE], path[300];
    CHECK(chos_name_escape("el9", file) == 0);
    CHECK_TEXT(file, "el9");
    CHECK(chos_name_escape("/auto/rh73", file) == 0);
    CHECK_TEXT(file, "%2Fauto%2Frh73");
    CHECK(chos_name_escape("/", file) == 0);
    CHECK_TEXT(file, "%2F");
    CHECK(chos_name_escape("/a b\xff%~", file) == 0);
    CHECK_TEXT(file, "%2Fa%20b%FF%25%7E");
    CHECK(chos_name_escape("/../../etc/shadow", file) == 0 && strchr(file, '/') == NULL);
    CHECK(chos_name_escape("", file) == -1);
    CHECK(chos_name_escape("a/b", file) == -1);
    CHECK(chos_name_escape("../a", file) == -1);
    CHECK(chos_name_escape("/a\nb", file) == -1);
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[253] = '\0';      /* %2F and 252 bytes: 255 */
    CHECK(chos_name_escape(path, file) == 0 && strlen(file) == 255 && chos_name_is_file(file));
    path[253] = 'x';
    path[254] = '\0';
    CHECK(chos_name_escape(path, file) == -1);
    path[252] = '/';
    path[253] = '\0';      /* the last byte takes three and is too much */
    CHECK(chos_name_escape(path, file) == -1);
}

static void escaped_names(void)
{
    static const char *const legal[] = {"%2F", "%2Fos%2Fsl6", "%2Fa%FF", "%2F.."};
    static const char *const illegal[] = {"%2f", "%2", "%", "%2Fa%", "%2Fa%2", "%2Fa%41", "%2Fa%00", "%2Fa%0A", "%2Fa/b",
        "%2Fa b", "%20", "%2Fa%2e", "%2Fa%GG"};
    for (size_t i = 0; i < sizeof legal / sizeof *legal; i++)
        CHECK(chos_name_is_file(legal[i]) && !chos_name_is_plain(legal[i]));
    for (size_t i = 0; i < sizeof illegal / sizeof *illegal; i++)
        CHECK(!chos_name_is_file(illegal[i]));
}

static void links(void)
{
    static const char *const refused[] = {"", "../gen/", "../gen/el9", "../gen/el9.", "../gen/el9.0", "../gen/el9.01",
        "../gen/el9.-1", "../gen/el9.1234567890", "../gen/.1", "../gen/../x.1", "../gen/a/b.1", "../gen/el9.1/", "../gen/el9.7 ",
        "../bases", "../base/", "/run/chos/gen/el9.7", "..", ".", "a/b", "%2fx", "../gen/%2fa.1"};
    struct chos_link link;
    CHECK(chos_link_parse("../gen/el9.7", &link) == 0 && link.kind == CHOS_TO_GENERATION);
    CHECK_TEXT(link.name, "el9.7");
    CHECK(link.stem == 3 && link.number == 7);
    CHECK(chos_link_parse("../gen/sl6.4.999999999", &link) == 0 && link.stem == 5 && link.number == 999999999);
    CHECK(chos_link_parse("../gen/%2Fauto%2Frh73.1", &link) == 0 && link.stem == 14);
    CHECK(chos_link_parse("../base", &link) == 0 && link.kind == CHOS_TO_BASE);
    CHECK(chos_link_parse("el9", &link) == 0 && link.kind == CHOS_TO_NAME);
    CHECK(chos_link_parse("%2Fos%2Fx", &link) == 0 && link.kind == CHOS_TO_NAME);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        CHECK(chos_link_parse(refused[i], &link) == -1);
}

static void numbers(void)
{
    uint64_t n = 0;
    CHECK(chos_number("0", 9, &n) == 0 && n == 0);
    CHECK(chos_number("18446744073709551615", UINT64_MAX, &n) == 0 && n == UINT64_MAX);
    CHECK(chos_number("18446744073709551616", UINT64_MAX, &n) == -1);
    CHECK(chos_number("10", 9, &n) == -1);
    CHECK(chos_number("", 9, &n) == -1);
    CHECK(chos_number("00", 9, &n) == -1);
    CHECK(chos_number("+1", 9, &n) == -1);
    CHECK(chos_number(" 1", 9, &n) == -1);
    CHECK(chos_number("1x", 99, &n) == -1);
    CHECK(chos_number("7", 5, &n) == -1);
    CHECK(chos_number("/", 99, &n) == -1);
}

void test_names(void)
{
    plain_names();
    escaping();
    escaped_names();
    links();
    numbers();
}
