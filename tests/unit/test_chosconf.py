"""/etc/chos.conf and /etc/sysconfig/chos."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.config.login import BUILTIN, parse_login
from chosns.config.sysconfig import parse_sysconfig
from chosns.model import ExtraBind, LoginShell, Origin, Problem, Severity

FILE = "/etc/chos.conf"


def said(problems: tuple[Problem, ...]) -> list[tuple[int, str, str]]:
    return [(p.origin.line, p.severity.value, p.message) for p in problems]


def test_the_usual() -> None:
    text = "# c\nX\n%SHELLS\nY\n%ENV\nCHOS\n HOME \nPATH\n\n#A\nHOME\n%BEH\nBASHLOGIN\n%ENV\nTERM B\n"
    assert parse_login(text, FILE) == (LoginShell(("CHOS", "HOME", "TERM", "B"), True, True), ())


def test_without_path_nothing_sets_it() -> None:
    assert parse_login("%ENV\nHOME\n", FILE) == (LoginShell(("HOME",), False, False), ())


def test_builtin_is_what_the_original_shipped() -> None:
    assert BUILTIN.set_path and not BUILTIN.bashlogin
    assert len(BUILTIN.keep) == 21 and "PATH" not in BUILTIN.keep
    assert {"CHOS", "SSH_AUTH_SOCK", "REMOTEHOST"} <= set(BUILTIN.keep)


@pytest.mark.parametrize(
    ("text", "said_"),
    [
        ("", [(0, "warning", "has no %ENV: login shells keep no variable")]),
        ("%ENV\nA\n%BEH\nBASH\n", [(4, "warning", 'unknown word "BASH" ignored')]),
        ("%ENV\nA\nB-C\n", [(3, "warning", '"B-C" is not the name of a variable, ignored')]),
        ("%ENV\nA\n%BEHAVE\n", [(3, "warning", 'unknown section "%BEHAVE"')]),
        ("%ENV\nA\n%OTHER\nB-C\n", []),
    ],
)
def test_doubts(text: str, said_: list[tuple[int, str, str]]) -> None:
    assert said(parse_login(text, FILE)[1]) == said_


def test_at_most_256_names() -> None:
    names = [f"A{n}" for n in range(257)]
    assert parse_login("%ENV\nPATH\n" + "\n".join(names[:256]), FILE)[1] == ()
    login, problems = parse_login("%ENV\nPATH\n" + "\n".join(names), FILE)
    assert login.keep == tuple(names[:256])
    assert said(problems) == [(259, "error", "%ENV is longer than 256 names")]


def test_at_most_8191_bytes() -> None:
    room = 8191 - len("chos-login 1\nbashlogin=0\npath=1\n") - len("keep=\n")
    assert parse_login("%ENV\n" + "A" * room, FILE)[1] == ()
    login, problems = parse_login("%ENV\nB\n" + "A" * room, FILE)
    assert login.keep == ("B",)
    assert said(problems) == [(3, "error", "%ENV is longer than 8191 bytes")]


def printed(login: LoginShell) -> str:
    """The text that `parse_login` reads as these settings."""
    names = (("PATH",) if login.set_path else ()) + login.keep
    return "%ENV\n" + "".join(f"{name}\n" for name in names) + ("%BEH\nBASHLOGIN\n" if login.bashlogin else "")


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(["%ENV", "%BEH", "A", "PATH", "BASHLOGIN", "#", ""])).map("\n".join))
)
def test_any_text_fits_into_the_registry(text: str) -> None:
    login, _ = parse_login(text, FILE)
    assert len(login.keep) <= 256 and "PATH" not in login.keep
    assert all(name.isidentifier() and name.isascii() for name in login.keep)
    assert parse_login(printed(login), FILE) == (login, ())


SYS = "/etc/sysconfig/chos"


def binds(text: str) -> list[str]:
    return [bind.target for bind in parse_sysconfig(text, SYS)[0].bind_mounts]


def test_the_original_sample() -> None:
    text = 'CHOS=/etc/chos\nBINDMOUNT="/dev /dev/shm /sys /proc /var /sys /proc /root"\nMAKELINKS="no"\n'
    settings, problems = parse_sysconfig(text, SYS)
    assert problems == ()
    here = Origin(SYS, 2)
    assert settings.bind_mounts == (
        ExtraBind("/dev", "/dev", optional=True, devices=True, origin=here),
        ExtraBind("/dev/shm", "/dev/shm", optional=True, devices=True, origin=here),
        ExtraBind("/sys", "/sys", optional=True, origin=here),
        ExtraBind("/var", "/var", optional=True, origin=here),
        ExtraBind("/root", "/root", optional=True, origin=here),
    )
    assert settings.make_links is False


def test_yes_and_no() -> None:
    settings, problems = parse_sysconfig("export MAKELINKS=yes; PRIVATE_MOUNTS='YES' # remark\n", SYS)
    assert (settings.make_links, problems) == (True, ())


def test_what_has_no_effect_is_said() -> None:
    _, (problem,) = parse_sysconfig("MAKELINKS=yes\nexport PRIVATE_MOUNTS=no\n", SYS)
    assert (problem.origin.line, problem.severity) == (2, Severity.WARNING)
    assert problem.message.startswith("PRIVATE_MOUNTS=no has no effect")


@pytest.mark.parametrize(
    "text",
    [
        "BINDMOUNT='/a /b'",
        'BINDMOUNT="/a\n/b"',
        'BINDMOUNT="/a \\\n/b"',
        "BINDMOUNT=/a\\ /b",
        'BINDMOUNT="/x"\nBINDMOUNT="/a"" /b"',
        "# don't stumble\nBINDMOUNT='/a /b' # isn't\n",
        "BINDMOUNT='/a/ //b'",
        'BINDMOUNT="/a /b /a"',
    ],
)
def test_quoting_as_in_a_shell(text: str) -> None:
    settings, problems = parse_sysconfig(text, SYS)
    assert problems == ()
    assert [bind.source for bind in settings.bind_mounts] == ["/a", "/b"]


def test_line_of_an_assignment_after_quoted_lines() -> None:
    settings, _ = parse_sysconfig("# a\nMAKELINKS='\n\n'\n\nBINDMOUNT=/a\n", SYS)
    assert settings.bind_mounts[0].origin == Origin(SYS, 6)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\nBINDMOUNT=$(ls /)", 2, "is no assignment, ignored"),
        ('BINDMOUNT="$(ls /)"', 1, "BINDMOUNT needs a shell, ignored"),
        ('BINDMOUNT="`ls`"', 1, "BINDMOUNT needs a shell, ignored"),
        ('BINDMOUNT="$HOME"', 1, "BINDMOUNT needs a shell, ignored"),
        ("BINDMOUNT=/a > /etc/x", 1, "is no assignment, ignored"),
        ("if true; then BINDMOUNT=/a; fi", 1, "is no assignment, ignored"),
        ("BINDMOUNTS=/a", 1, 'unknown setting "BINDMOUNTS" ignored'),
        ("MAKELINKS=maybe", 1, 'MAKELINKS is "maybe", taken for no'),
        ("PRIVATE_MOUNTS=0", 1, 'PRIVATE_MOUNTS is "0", taken for yes'),
    ],
)
def test_what_needs_a_shell_is_not_guessed(text: str, line: int, message: str) -> None:
    settings, problems = parse_sysconfig(text, SYS)
    assert [(p.origin.line, p.severity) for p in problems] == [(line, Severity.WARNING)]
    assert message in problems[0].message
    assert (settings.bind_mounts, settings.make_links) == ((), False)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("a", "is not an absolute path"),
        ("/a/../b", 'contains ".."'),
        ("/", "is the root itself"),
        ("/local", "is at or below /local"),
        ("/chos/os", "is at or below /chos"),
        ("/proc/bus", "is at or below /proc"),
    ],
)
def test_bad_directories(value: str, fault: str) -> None:
    settings, problems = parse_sysconfig(f"BINDMOUNT='{value} /ok'", SYS)
    assert [bind.target for bind in settings.bind_mounts] == ["/ok"]
    assert [p.severity for p in problems] == [Severity.ERROR] and fault in problems[0].message


def test_unclosed_quotation() -> None:
    settings, problems = parse_sysconfig('MAKELINKS=yes\nBINDMOUNT="/a\n', SYS)
    assert settings.make_links and settings.bind_mounts == ()
    assert said(problems) == [(2, "error", "not readable as shell: no closing quotation")]


def test_unknown_settings_are_somebody_elses() -> None:
    assert parse_sysconfig("FOO=bar\nQUX='$(x)'\n", SYS)[1] == ()
    assert binds("FOO=bar\nBINDMOUNT=/a\n") == ["/a"]


@given(st.one_of(st.text(), st.text(alphabet="BINDMOUT=/a \"'\\\n;$`#>")))
def test_any_text_is_judged(text: str) -> None:
    settings, problems = parse_sysconfig(text, SYS)
    for bind in settings.bind_mounts:
        assert bind.target == bind.source and bind.optional and bind.target.startswith("/")
    for problem in problems:
        assert 1 <= problem.origin.line <= text.count("\n") + 1
