"""What the installed commands need is said in packaging/dependencies.toml; whoever repeats it, repeats that."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGES: list[dict[str, Any]] = tomllib.loads((ROOT / "packaging/dependencies.toml").read_text())["package"]
# Not Python's: the launcher's capabilities.
OTHERS = {"debian": {"python3", "libcap2-bin"}, "el9": {"python3", "libcap"}}


def _deps(family: str) -> set[str]:
    """The group `runtime` of tools/deps, `?` taken away; a Python that is old."""
    text = (ROOT / "tools/deps").read_text()
    body = text.partition(f"\n{family}() {{")[2].partition("\n}")[0]
    runtime = body.partition("        runtime)")[2].partition(";;")[0]
    return {word for words in re.findall(r"echo ([^;\n]*)", runtime) for word in words.split()}


def test_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        f"{one['pypi']} >= {one['at_least']}" + (f"; python_version < '{one['before']}'" if "before" in one else "")
        for one in PACKAGES
    }
    assert set(project["dependencies"]) == wanted


def test_the_debian_package() -> None:
    control = (ROOT / "packaging/deb/control").read_text()
    fields = control.partition("Package: chos\n")[2].partition("\nDescription:")[0]
    depends = fields.partition("Depends: ")[2].partition("\nRecommends:")[0]
    named = set(re.findall(r"python3-[a-z0-9]+", depends))
    assert named == {one["debian"] for one in PACKAGES if "optional" not in one}
    for one in PACKAGES:
        if "before" in one:
            assert f"python3 (>= {one['before']}) | {one['debian']}" in depends
    (optional,) = [one for one in PACKAGES if "optional" in one]
    assert "${chos:Pyroute2}" in fields
    assert f"{optional['debian']} (>= {optional['at_least']})" in (ROOT / "packaging/deb/rules").read_text()


def test_the_rpm() -> None:
    spec = (ROOT / "packaging/rpm/chos.spec").read_text().partition("%description\n")[0]
    for one in PACKAGES:
        name = one.get("el", one["debian"])
        if "optional" in one:
            assert re.search(rf"^Recommends: +{name} >= {re.escape(one['at_least'])}$", spec, re.M)
        elif "before" in one:
            assert re.search(rf"^Requires: +\({name} if python3 < {one['before']}\)$", spec, re.M)
        else:
            assert re.search(rf"^Requires: .*\b{name}\b", spec, re.M)
        # Where the package carries its own, it must not ask for the distribution's.
        if "own" in one:
            top = one["module"].partition(".")[0]
            assert re.search(rf"^%if !0%{{\?own_{top}}}\n\w+: +{name}\b.*\n%endif$", spec, re.M)
    assert len(re.findall(r"python3-[a-z0-9]+", re.sub("#.*", "", spec))) == len(PACKAGES)


def test_tools_deps() -> None:
    assert _deps("debian") - OTHERS["debian"] == {one["debian"] for one in PACKAGES if "optional" not in one}
    assert _deps("el9") - OTHERS["el9"] == {one["el"] for one in PACKAGES if "own" not in one}
    text = (ROOT / "tools/deps").read_text()
    own = {line.split()[2]: line.split()[1] for line in re.findall(r"^\w+ [\w.]+ [\w-]+==[\d.]+$", text, re.M)}
    assert own == {f"{one['pypi']}=={one['own_release']}": one["module"] for one in PACKAGES if "own" in one}


def test_other_pythons_have_them_for_the_tests() -> None:
    (words,) = re.findall(r"wanted=\((.*?)\)", (ROOT / "tools/unit").read_text())
    assert {one["pypi"] for one in PACKAGES if "before" not in one} <= set(words.split())


def test_nothing_else_is_imported() -> None:
    """But what Python itself has."""
    known = {one.get("module", one["pypi"]).partition(".")[0] for one in PACKAGES} | {"chosns"}
    files = subprocess.run(["git", "ls-files", "chosns/*.py"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / name for name in files.stdout.split()] or list((ROOT / "chosns").rglob("*.py"))
    imported = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    standard = getattr(sys, "stdlib_module_names", None)
    if standard is not None:  # Python 3.10
        assert imported - set(standard) - known - {"tomllib"} == set()
