"""docs/registry.md is a contract: C reads what Python wrote, Python what C wrote, and both mean the same by it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chosns.config.login import MAX_NAMES, parse_login
from chosns.config.node import _SERVICE, MAX_SERVICES
from chosns.config.sections import MAX_POLICY_BYTES, MAX_VARIABLES, parse_sections
from chosns.model import ESCAPED_MAX, NAME_PATTERN, Environment, Jobs, LoginShell, Origin, Policy, escape_name
from chosns.registry.formats import base_text, jobs_text, login_text, policy_text
from chosns.registry.reader import _GENERATION

ROOT = Path(__file__).parents[2]
SOURCES = ["tests/c/contract.c", "libchos/format/parse.c", "libchos/format/name.c"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
ORIGIN = Origin("/etc/chos", 1)

LONG = st.integers(0, 2**64 - 1)
LINES = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=["Cs"]), max_size=40)
WORDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
PATHS = LINES.map(lambda text: "/" + text)


class Reader:
    """libchos, asked over a pipe."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )

    def __call__(self, kind: str, text: str | bytes) -> list[str | int] | None:
        """What C makes of it: the values in their order; None where it refuses."""
        assert self.process.stdin and self.process.stdout
        content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        self.process.stdin.write(f"{kind} {len(content)}\n".encode() + content)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.endswith(b"\n"), f"C died of {kind} {content!r}"
        words = answer.decode().split()
        return None if words[-1:] == ["refused"] else [_value(word) for word in words]


def _value(word: str) -> str | int:
    if word.startswith("'"):
        return bytes.fromhex(word[1:]).decode("utf-8", "surrogateescape")
    return int(word) if word.isdigit() else word


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    compiler = shutil.which("gcc", path="/usr/bin:/bin") or shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("contract") / "contract"
    command = [
        compiler,
        "-std=c11",
        "-D_GNU_SOURCE",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Ilibchos",
        "-o",
        str(program),
    ]
    subprocess.run([*command, *SANITIZERS, *SOURCES], cwd=ROOT, check=True)
    reader = Reader(program)
    yield reader
    assert reader.process.stdin
    reader.process.stdin.close()
    assert reader.process.wait() == 0


def personality(policy: Policy) -> int:
    """As personality(2) has them."""
    return 0x0008 * policy.linux32 | 0x0020000 * policy.uname26


POLICIES = st.builds(Policy, *[st.booleans()] * 6)
VARIABLES = st.dictionaries(WORDS, LINES, max_size=MAX_VARIABLES).map(lambda found: tuple(found.items()))


@given(NAMES | PATHS, st.integers(1, 999_999_999), LONG, LONG, POLICIES, VARIABLES)
def test_policy(
    read: Reader,
    name: str,
    number: int,
    device: int,
    inode: int,
    policy: Policy,
    variables: tuple[tuple[str, str], ...],
) -> None:
    assume(sum(len(f"setenv={key}={value}\n".encode()) for key, value in variables) <= MAX_POLICY_BYTES)
    file = escape_or_skip(name)
    env = Environment(name, "/os", ORIGIN, policy=policy, variables=variables)
    said = read("policy", policy_text(env, file, str(number), (device, inode)))
    wanted = [file, number, device, inode, int(policy.no_new_privs), personality(policy)]
    assert said == [*wanted, *(f"{key}={value}" for key, value in variables)]


def test_the_longest_policy_that_the_configuration_allows(read: Reader) -> None:
    room = MAX_POLICY_BYTES - len("setenv=A=\n")
    for length, legal in ((room, True), (room + 1, False)):
        file = parse_sections(f'[environment.a]\nenv.A = "{"x" * length}"\n', "f")
        assert (not file.problems) is legal
    policy = Policy(no_new_privs=True, linux32=True, uname26=True)
    env = Environment("a", "/os", ORIGIN, policy=policy, variables=(("A", "x" * room),))
    name = escape_name("/" + "x" * (ESCAPED_MAX - len("%2F") - len(".999999999")))
    assert read("policy", policy_text(env, name, "999999999", (2**64 - 1, 2**64 - 1)))


@given(st.lists(WORDS, max_size=MAX_NAMES, unique=True), st.booleans(), st.booleans())
def test_login(read: Reader, keep: list[str], path: bool, bashlogin: bool) -> None:
    text = login_text(LoginShell(tuple(keep), path, bashlogin))
    assume(len(text) < 8192)
    assert read("login", text) == [int(bashlogin), int(path), *keep]


# As many words as do not fit, without the time that it takes to think of each.
MANY_WORDS = st.builds(lambda word, count: "\n".join(f"{word}{n}" for n in range(count)), WORDS, st.integers(200, 400))


@given(st.text() | MANY_WORDS)
def test_whatever_chos_conf_says_c_can_read(read: Reader, text: str) -> None:
    login, _ = parse_login("%ENV\n" + text, "f")
    assert read("login", login_text(login)) == [int(login.bashlogin), int(login.set_path), *login.keep]


SERVICES = st.lists(st.from_regex(_SERVICE, fullmatch=True), max_size=MAX_SERVICES).map(tuple)


@given(LINES, st.integers(0, 2**63 - 1), st.integers(0, 2**22), st.booleans(), PATHS | st.just(""), SERVICES)
def test_jobs(
    read: Reader, user_file: str, memory: int, processes: int, syslog: bool, file: str, stay: tuple[str, ...]
) -> None:
    jobs = Jobs(user_file, memory, processes, syslog, file, stay)
    assert read("jobs", jobs_text(jobs)) == [user_file, memory, processes, int(syslog), file, *stay]


def test_base(read: Reader) -> None:
    root = os.stat("/")
    assert read("base", base_text()) == [os.stat("/proc/self/ns/mnt").st_ino, root.st_dev, root.st_ino]


def escape_or_skip(name: str) -> str:
    try:
        return escape_name(name)
    except ValueError:
        assume(False)
        raise


@given(NAMES | PATHS | st.text(max_size=12) | st.integers(70, 260).map(lambda n: "/" + "é" * n))
def test_names_are_escaped_alike(read: Reader, name: str) -> None:
    """The file name that C looks for is the one that Python made, and what one refuses the other does, too."""
    try:
        content = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no bytes that a file or a variable could have held
        assume(False)
        raise
    try:
        written: list[str | int] | None = [escape_name(name), 1]
    except ValueError:
        written = None
    assert read("name", content) == written


@given(NAMES | PATHS, st.integers(1, 999_999_999))
def test_links(read: Reader, name: str, number: int) -> None:
    file = escape_or_skip(name)
    assert read("link", file) == ["name", file]
    assume(len(f"{file}.{number}") <= ESCAPED_MAX)
    assert read("link", f"../gen/{file}.{number}") == ["generation", number, file]


def test_the_link_to_the_base(read: Reader) -> None:
    assert read("link", "../base") == ["base", ""]


@given(st.text("../gen%2F019aZ-_é \n", max_size=20) | st.from_regex(_GENERATION, fullmatch=True))
def test_what_c_takes_for_a_generation_python_does(read: Reader, text: str) -> None:
    said = read("link", f"../gen/{text}")
    match = _GENERATION.fullmatch(text)
    if said:
        assert match and said == ["generation", int(match["number"]), match["name"]]


@pytest.mark.parametrize("kind", ["policy", "login", "base", "jobs"])
def test_another_version_is_refused(read: Reader, kind: str) -> None:
    env = Environment("a", "/os", ORIGIN)
    text = {
        "policy": policy_text(env, "a", "1", (1, 2)),
        "login": login_text(LoginShell()),
        "base": base_text(),
        "jobs": jobs_text(Jobs()),
    }[kind]
    assert read(kind, text)
    assert read(kind, text.replace(" 1\n", " 2\n", 1)) is None
    assert read(kind, text + "unknown=1\n") is None
    assert read(kind, text[:-1]) is None
