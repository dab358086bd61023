"""Tries mutations: each in a copy of the checkout, built, and its test run; the test has to fail.

    tools/mutants [--list] [--table [--write]] [--changed [REVISION]] [--jobs N] [--limit N] [WORD...]

WORD chooses mutations whose name, file or test contains it. --changed: those whose file was changed since REVISION (by
itself: since the last commit but one, and what is not committed). --limit: at most so many. --table shows the table of
docs/security.md, --write puts it there. Exit status 1: a mutation survived, or could not be tried.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from catalogue import PAGE, ROOT, Mutant, apply, page, problems, read, table

LIMIT = 600  # seconds for one test; one that hangs has noticed, too
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Result:
    """What became of a mutation: `killed`, `survived`, `skipped` (its test was), or `error`; and what was printed."""

    mutant: Mutant
    state: str
    output: str
    seconds: float


class Copy:
    """A copy of the checkout with a build of its own, in which one mutation at a time is made."""

    def __init__(self, place: Path) -> None:
        self.root = place / "source"
        self.root.mkdir(parents=True)
        for name in _files():
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        self.run(["tools/build", "build", "/usr"], check=True)

    def run(self, command: list[str], check: bool = False) -> subprocess.CompletedProcess[str]:
        """In the copy, with a clean environment; output and errors together."""
        environment = {"PATH": _PATH, "HOME": os.environ.get("HOME", "/root"), "LANG": "C.UTF-8"}
        result = subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
        )
        if check and result.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: failed in the copy\n{result.stdout}")
        return result

    def test(self, mutant: Mutant) -> subprocess.CompletedProcess[str]:
        """Run the mutation's test."""
        if mutant.kind == "c":
            name = Path(mutant.test).stem.removeprefix("test_")
            suite = name if name in ("pam", "late", "host", "enter") else "c"
            return self.run(["meson", "test", "-C", "build", "--print-errorlogs", suite])
        if mutant.kind == "unit":
            return self.run(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", mutant.test])
        if mutant.kind == "guest":
            command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", mutant.test]
            build = "build" if mutant.test.startswith("tests/kmod/node/") else ""  # as tools/kmod does it
            return self.run(["tools/guest", "--build", build, os.environ.get("MUTANTS_KERNEL", "6.1"), "--", *command])
        # A network of its own: another copy's daemons listen on the same ports.
        script = 'ip link set lo up && exec tools/system build "$1" -x -q'
        return self.run(["unshare", "--net", "sh", "-c", script, "sh", mutant.test])

    def attempt(self, mutant: Mutant) -> Result:
        """Make the mutation, build, run its test, undo it."""
        file = self.root / mutant.file
        text = file.read_text(encoding="utf-8")
        started = time.monotonic()
        file.write_text(apply(mutant, text), encoding="utf-8")
        try:
            built = self.run(["ninja", "-C", "build"])
            if built.returncode != 0:
                return Result(mutant, "error", "does not compile:\n" + built.stdout, time.monotonic() - started)
            done = self.test(mutant)
            return Result(mutant, _state(mutant, done), done.stdout, time.monotonic() - started)
        except subprocess.TimeoutExpired:
            return Result(mutant, "killed", f"its test hung for {LIMIT} s", time.monotonic() - started)
        finally:
            file.write_text(text, encoding="utf-8")


def _state(mutant: Mutant, done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == 0:
        return "skipped" if mutant.kind != "c" and " passed" not in done.stdout else "survived"
    # pytest's 1: a test failed; all else is a mistake in how it was started. meson's is the number of tests.
    return "killed" if done.returncode == 1 and (mutant.kind == "c" or " failed" in done.stdout) else "error"


def _files() -> list[str]:
    """What is in the checkout and not ignored."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and os.path.lexists(ROOT / name)]


def _changed(revision: str) -> set[str]:
    command = ["git", "-C", str(ROOT), "diff", "--name-only", revision, "--"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # A clone that is one commit deep has nothing to compare with.
    return set(done.stdout.split("\n")) if done.returncode == 0 else set()


def _choose(options: argparse.Namespace, mutants: list[Mutant]) -> list[Mutant]:
    chosen = [
        mutant
        for mutant in mutants
        if not options.word or any(word in f"{mutant.name} {mutant.file} {mutant.test}" for word in options.word)
    ]
    if options.changed:
        changed = _changed(options.changed)
        chosen = [mutant for mutant in chosen if mutant.file in changed or mutant.test.partition("::")[0] in changed]
    return chosen


def _try_all(chosen: list[Mutant], jobs: int) -> list[Result]:
    """The tests without any mutation first: one that fails anyway kills nothing."""
    results: list[Result] = []
    place = Path(tempfile.mkdtemp(prefix="mutants-", dir=ROOT / "build" if (ROOT / "build").is_dir() else None))
    try:
        copies = [Copy(place / str(number)) for number in range(min(jobs, len(chosen)))]
        parts = [chosen[number :: len(copies)] for number in range(len(copies))]
        with concurrent.futures.ThreadPoolExecutor(len(copies)) as pool:
            for part in pool.map(_try_part, copies, parts):
                results += part
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return results


def _try_part(copy: Copy, mutants: list[Mutant]) -> list[Result]:
    results = []
    healthy: dict[str, bool] = {}
    for mutant in mutants:
        if mutant.test not in healthy:
            done = copy.test(mutant)
            healthy[mutant.test] = done.returncode == 0 and (mutant.kind == "c" or " passed" in done.stdout)
        result = (
            copy.attempt(mutant)
            if healthy[mutant.test]
            else Result(mutant, "error", "its test fails without it, or is skipped", 0)
        )
        print(f"  {result.state:9}{result.seconds:6.1f} s  {mutant.name}: {mutant.test}", flush=True)
        results.append(result)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("\n\n")[1].strip(), description=__doc__)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--changed", nargs="?", const="HEAD~1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("word", nargs="*")
    options = parser.parse_args()
    rules, mutants = read()
    if options.table:
        text = table(rules, mutants)
        if options.write:
            PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), rules, mutants), encoding="utf-8")
        else:
            print(text, end="")
        return 0
    chosen = _choose(options, mutants)
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:40} {mutant.file}  {mutant.test}")
        return 0
    wrong = [problem for mutant in chosen for problem in problems(mutant)]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    # The same ones each time, spread over the list; a virtual machine takes longer than all others together.
    if options.limit:
        chosen = [mutant for mutant in chosen if mutant.kind != "guest"]
    if options.limit and len(chosen) > options.limit:
        left = len(chosen) - options.limit
        print(f"SKIPPED: {left} of {len(chosen)} mutants (--limit {options.limit}); make mutants tries all")
        step = len(chosen) / options.limit
        chosen = [chosen[int(number * step)] for number in range(options.limit)]
    print(f"== Mutants: {len(chosen)} of {len(mutants)}", flush=True)
    started = time.monotonic()
    results = _try_all(chosen, max(1, options.jobs)) if chosen else []
    return _report(results, time.monotonic() - started)


def _report(results: list[Result], seconds: float) -> int:
    bad = [result for result in results if result.state in ("survived", "error")]
    for result in bad:
        print(
            f"\n-- {result.mutant.name}: {result.state}: {result.mutant.test}\n"
            + "\n".join(result.output.splitlines()[-15:])
        )
    killed = sum(result.state == "killed" for result in results)
    skipped = sum(result.state == "skipped" for result in results)
    print(f"{killed} passed, {len(bad)} failed, {skipped} skipped in {seconds:.2f}s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
