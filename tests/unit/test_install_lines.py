"""Lines go into a text and come out again, whatever the text is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.integrate.lines import append, diff, insert, take_out

WORDS = st.sampled_from(["a", "b", "  c # d", "", "ours"])
TEXTS = st.lists(WORDS, max_size=6).map("\n".join)


@given(TEXTS, st.booleans())
def test_what_was_appended_comes_out(text: str, newline: bool) -> None:
    text += "\n" if newline and text else ""
    ours = ["# ours", "ours"]
    after = append(text, ours)
    assert after.splitlines()[-2:] == ours
    assert after.endswith("\n")
    back, missing = take_out(after, ours)
    assert not missing
    assert back.splitlines() == text.splitlines()


@given(TEXTS, st.integers(0, 6), TEXTS)
def test_others_lines_stay(text: str, at: int, later: str) -> None:
    """Wherever ours are, and whatever was added since: the rest stays in its order."""
    ours = ["x", "y"]
    after = insert(text, at, ours) + later
    back, missing = take_out(after, ours)
    assert not missing
    assert [line for line in back.splitlines() if line] == [
        line for line in after.splitlines() if line and line not in ours
    ]


def test_lines_that_were_torn_apart() -> None:
    assert take_out("# ours\nnew\nours\n", ["# ours", "ours"]) == ("new\n", [])


def test_a_line_that_was_changed_stays() -> None:
    assert take_out("a\n# ours\nours too\n", ["# ours", "ours"]) == ("a\nours too\n", ["ours"])


def test_the_last_of_equal_lines_goes() -> None:
    assert take_out("ours\na\nours\nb\n", ["ours"]) == ("ours\na\nb\n", [])


@pytest.mark.parametrize("before", ["", "a\n", "a", "a\nb\n\tc"])
def test_patch_understands_the_difference(before: str, tmp_path: Path) -> None:
    if not shutil.which("patch"):
        pytest.skip("patch is not installed")
    path = tmp_path / "file"
    path.write_text(before)
    after = append(before, ["x", "y"])
    subprocess.run(["patch", "-s", "-p0", str(path)], input=diff(str(path), before, after), text=True, check=True)
    assert path.read_text() == after
