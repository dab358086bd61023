"""What the backends cost beside each other, in instructions; started by `bench/run --kmod`.

The machine builds what is measured and starts a virtual machine in which a nanosecond is an instruction (tools/guest
--icount); there the same file is started again, as root, and prints the tables. Wall time means nothing under
emulation, and instructions are not time: cache misses cost the same as hits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import Report, Table

REPO = Path(__file__).resolve().parents[1]
KERNEL = "6.1"
SETTLE = 4  # seconds after which a guest does nothing by itself any more
TREE = Path("/os/bench")
DEEP = "/usr/share/a/b/c/d/e/file"
# Of Debian's tree: Python, a compiler, what they are linked with
PARTS = (
    *("bin", "lib", "lib64", "sbin", "usr/lib64", "usr/lib/x86_64-linux-gnu/ld-*", "usr/bin/sh", "usr/bin/dash"),
    *("usr/bin/python3*", "usr/lib/python3.*", "usr/include", "usr/libexec/gcc/x86_64-linux-gnu/*/cc1"),
    *("usr/lib/gcc/x86_64-linux-gnu/*/include", "usr/bin/gcc*", "usr/bin/as", "usr/bin/x86_64-linux-gnu-*"),
    *(
        f"usr/lib/x86_64-linux-gnu/lib{name}[-.]*so*"
        for name in ("c", "m", "z", "expat", "gmp", "isl", "mpfr", "mpc", "zstd", "bfd", "opcodes", "sframe", "jansson")
    ),
)
TRUE = str(TREE / "usr/bin/true")
COLUMNS = ("", "base", "ns", "×", "kmod", "×")
EXCLUDE = ("test", "idlelib", "*.a", "lib*san*")
PYTHON = "import argparse, json, logging, subprocess, urllib.request"
LINKS = ("passwd", "group", "shadow", "gshadow", "hosts", "resolv.conf", "nsswitch.conf", "localtime", "chos")


def on_machine(build: str, quick: bool, target: Path | None) -> int:
    """Make the tree, boot the guest, keep its numbers."""
    tree = Path(_output(str(REPO / "tools/trees"), "--path", "trixie").strip())
    (REPO / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=REPO / ".cache", prefix="bench.") as directory:
        made = Path(directory)
        made.chmod(0o755)
        names = [str(path.relative_to(tree)) for part in PARTS for path in tree.glob(part)]
        exclude = [f"--exclude={name}" for name in EXCLUDE]
        _run("tar", "-C", str(tree), "-cf", str(made / "tree.tar"), *exclude, *names)
        (made / "true.c").write_text("int main(void) { return 0; }\n")
        sources = {"kmod": REPO / "bench/kmod.c", "nothing": REPO / "bench/nothing.c", "true": made / "true.c"}
        for program, source in sources.items():
            _run("musl-gcc", "-O2", "-static", "-s", "-o", str(made / program), str(source))
        inside = ["/usr/bin/python3", "-B", str(Path(__file__).resolve()), "--guest", directory]
        guest = ["--icount", "--build", build, "--memory", "1500", "--keep", str(made / "kept"), KERNEL, "--"]
        command = [str(REPO / "tools/guest"), *guest, *inside, *(["--quick"] if quick else [])]
        status = subprocess.run(command, check=False).returncode
        numbers = made / "kept/bench.json"
        if target and numbers.exists():
            target.write_text(numbers.read_text())
    return status


def in_guest(made: Path, quick: bool) -> None:
    """Everything, in one guest; the module is not loaded at first."""
    make_tree(made)
    few, many = (3, 100) if quick else (5, 400)
    report = Report()
    time.sleep(SETTLE)
    unloaded = on_base(many)
    # While a guest waits for the machine its clock runs ahead: what has a time limit must find its files in memory.
    _run("modprobe", "chos")
    _run("chosctl", "up", "--backend=ns")
    _run("chosctl", "up", "--backend=ns,kmod")
    time.sleep(SETTLE)
    measure_inside(report, few, many)
    measure_entering(report, many)
    loaded = on_base(many)
    rows = [(label, f"{value:,}", *_beside(loaded[label], value)) for label, value in unloaded.items()]
    report.tables.append(Table("On the base", ("", "no module", "loaded", "×"), rows))
    report.data["on the base"] = {"no module": unloaded, "loaded": loaded}
    os.environ["COLUMNS"] = "120"  # a serial line has no width
    report.show()
    Path("/guest/bench.json").write_text(report.to_json())


def on_base(rounds: int) -> dict[str, int]:
    """What every process pays for the module."""
    return {
        "fork, exit, wait": count("fork", rounds=rounds),
        "fork, exec, wait": count("spawn", TRUE, rounds=rounds // 4),
    }


def measure_inside(report: Report, few: int, many: int) -> None:
    """The same files at the same names: by chroot, and in both environments."""
    ways = {"base": ["chroot", str(TREE)], "ns": ["chos", "--backend=ns"], "kmod": ["chos", "--backend=kmod"]}
    things = {
        "stat, 7 directories deep": (many, ["stat", DEEP]),
        "stat, relative to its directory": (many, ["statat", DEEP]),
        "open and close, in /usr/lib": (many, ["open", "/usr/lib/bench/file"]),
        "open and close, in /etc": (many, ["open", "/etc/bench.conf"]),
        "fork, exit, wait": (many, ["fork"]),
        "fork, exec, wait": (many // 4, ["spawn", "/usr/bin/true"]),
        "Python, start and five imports": (few, ["spawn", "/usr/bin/python3", "-P", "-s", "-S", "-c", PYTHON]),
        "gcc -c, four headers": (few, ["spawn", "/usr/bin/gcc", "-c", "/usr/share/bench.c", "-o", "/tmp/bench.o"]),
    }
    found = {
        label: {place: count(*what, rounds=rounds, way=way) for place, way in ways.items()}
        for label, (rounds, what) in things.items()
    }
    rows = [
        (label, f"{row['base']:,}", *_beside(row["ns"], row["base"]), *_beside(row["kmod"], row["base"]))
        for label, row in found.items()
    ]
    note = "base: the same tree by chroot. Medians, with all that the kernel does."
    report.tables.append(Table("Inside, instructions", COLUMNS, rows, (note,)))
    report.data["inside"] = found


def measure_entering(report: Report, many: int) -> None:
    """The step itself, as root, and the whole command, as an ordinary user."""
    pin = os.path.realpath("/run/chos/env/bench") + "/ns"
    step = {"ns": count("setns", pin, rounds=many), "kmod": count("setchos", str(TREE), rounds=many)}
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    plain = count("spawn", TRUE, rounds=many // 4, way=user)
    between = count("spawn", "/usr/local/bin/nothing", TRUE, rounds=many // 4, way=user)
    chos = {
        name: count("spawn", "/usr/bin/chos", f"--backend={name}", "true", rounds=many // 4, way=user) for name in step
    }
    rows = [
        ("the system call: setns, write to setchos", "", f"{step['ns']:,}", "", f"{step['kmod']:,}", ""),
        ("fork, exec, wait: true, by way of a program that only executes it", f"{between:,}", "", "", "", ""),
        ("fork, exec, wait: true, chos true", f"{plain:,}", *_beside(chos["ns"], plain), *_beside(chos["kmod"], plain)),
    ]
    report.tables.append(Table("Entering, instructions", COLUMNS, rows))
    report.data["entering"] = {"system call": step, "plain": plain, "a program between": between, "chos true": chos}


def make_tree(made: Path) -> None:
    """The tree that is measured, in memory: what the machine's files cost a guest is not what is asked."""
    TREE.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", "mode=0755", "bench", str(TREE))
    _run("tar", "-C", str(TREE), "-xf", str(made / "tree.tar"))
    for name in ("etc", "opt", "var", "tmp", "dev", "proc", "usr/lib/bench", str(Path(DEEP).parent).lstrip("/")):
        (TREE / name).mkdir(parents=True, exist_ok=True)
    for name in (DEEP, "/usr/lib/bench/file", "/etc/bench.conf"):
        (TREE / name.lstrip("/")).write_text("bench\n")
    for name in LINKS:
        (TREE / "etc" / name).symlink_to(f"/local/etc/{name}")
    (TREE / "usr/share/bench.c").write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
        'int main(void) { puts("bench"); return (int)strlen(getenv("HOME")); }\n'
    )
    for name in ("kmod", "true"):
        _run("install", "-m755", str(made / name), str(TREE / "usr/bin" / name))
    # Counter, launcher (copied up by the change) and what stands for it are then in memory, too.
    for name in ("kmod", "nothing"):
        _run("install", "-m755", str(made / name), f"/usr/local/bin/{name}")
    _run("touch", "/usr/bin/chos")
    Path("/etc/chos").write_text(f"%SHELLS\nbench:{TREE}\n")


def count(*what: str, rounds: int, way: list[str] | None = None) -> int:
    """Instructions that it takes, in an environment or as a user where `way` leads there."""
    program = "/usr/bin/kmod" if way and way[0] in ("chroot", "chos") else "/usr/local/bin/kmod"
    return int(_output(*(way or []), program, str(rounds), *what))


def _beside(value: int, base: int) -> tuple[str, str]:
    return f"{value:,}", f"{value / base:.2f}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, "CHOS": "bench"})


def _output(*command: str) -> str:
    environment = {**os.environ, "CHOS": "bench", "PYTHONHASHSEED": "0"}
    return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run --kmod")
    parser.add_argument("--guest", type=Path, help="the directory with what is measured; only in the guest")
    parser.add_argument("--build", default="build")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.guest:
        in_guest(options.guest, options.quick)
        return 0
    return on_machine(options.build, options.quick, options.json)


if __name__ == "__main__":
    sys.exit(main())
