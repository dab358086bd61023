"""docs/guide-user.md: what a newcomer copies from it works."""

from __future__ import annotations

from pathlib import Path

import worked
from daemons import Node, tree_path


def test_the_users_guide(node: Node) -> None:
    """Every example that is no login and no job; those are test_sshd.py's, and the batch systems' own."""
    shells = ""
    for name, alias, description in (
        ("bullseye", "debian11", "as on the old cluster"),
        ("trixie", "debian13", "compilers of 2025"),
    ):
        tree_path(name)
        node.tree(name, like=name)
        shells += f"{name}:/os/{name}\n{alias}:/os/{name}\n"
        Path("/etc/chos.d").mkdir(exist_ok=True)
        Path(f"/etc/chos.d/{name}.toml").write_text(f'[environment.{name}]\ndescription = "{description}"\n')
    node.configure(shells)
    node.up()
    home = Path("/home/alice")
    try:
        worked.run("guide-user", user="alice")
    finally:
        for name in (".chos", "os.sh"):
            (home / name).unlink(missing_ok=True)
