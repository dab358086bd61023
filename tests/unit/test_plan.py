"""make_plan on machines of every kind: what a user then sees, and what is refused with which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chosns.errors import PlanError, TreeError
from chosns.model import BindMap, Launcher, Origin, Policy, Sysconfig
from chosns.plan import Bind, Kind, MakeSymlink, Overlay, Plan
from chosns.plan.operations import Flags
from tests.unit.plan_support import (
    BASE,
    MERGED,
    UNMERGED,
    Machine,
    Node,
    Root,
    bind,
    built,
    link,
    plan_for,
    shares,
    shipped,
)

LAUNCHER = Launcher("/usr/bin/chos")


def bare(tree: str = "/usr /etc /bin /lib64", base: str = "", etc: str = "", *, rest: bool = True) -> BindMap:
    """A bind map of a few words."""
    here = Origin("test-map.toml", 1)
    return BindMap(
        "test",
        here,
        tree=shares(*tree.split()),
        base=shares(*base.split()),
        etc=shares(*etc.split()),
        tree_rest=here if rest else None,
        base_rest=here if rest else None,
    )


def at(plan: Plan, target: str) -> object:
    """The one operation with this target."""
    found = [op for op in plan.operations if op.target == target]
    assert len(found) == 1, found
    return found[0]


# Whose is what.


@pytest.mark.parametrize("bindmap", ["default", "cluster"])
@pytest.mark.parametrize("tree", [MERGED, UNMERGED])
def test_shipped_maps(tree: object, bindmap: str) -> None:
    inside = built(tree, BASE, shipped(bindmap), launcher=LAUNCHER)
    assert inside.follow("/bin/sh")[0] == "tree"
    assert inside.follow("/etc/passwd") == ("base", "/etc/passwd")
    for path in (
        "/home/anna",
        "/dev/null",
        "/proc/self",
        "/scratch",
        "/gpfs/data",
        "/run/munge/socket",
        "/var/tmp",
        "/var/spool/slurmd",
    ):
        assert inside.follow(path) == ("base", path), path
    assert inside.follow("/local/usr/bin/chos") == ("base", "/usr/bin/chos")
    assert inside.follow("/usr/bin/chos") == ("base", "/usr/bin/chos")
    assert inside.follow("/usr/bin/chos-job-starter") == ("base", "/usr/bin/chos")
    assert inside.follow("/chos/usr/bin/chos") == ("base", "/usr/bin/chos")
    assert inside.follow("/usr/local") is None


@pytest.mark.parametrize(
    ("node", "expected"), [("dir", ("tree", "/lib64")), (link("usr/lib64"), ("tree", "/usr/lib64")), (None, None)]
)
def test_lib64_is_the_trees_or_nothing(node: Node, expected: object) -> None:
    tree = MERGED.without("/lib64") if node is None else MERGED.plus({"/lib64": node})
    assert built(tree).follow("/lib64") == expected


def test_tree_without_a_directory_gets_none_of_the_base() -> None:
    assert built(MERGED.without("/opt")).follow("/opt") is None


def test_what_only_the_tree_has() -> None:
    assert built(UNMERGED).follow("/nix/store") == ("tree", "/nix/store")
    assert built(UNMERGED, bindmap=bare(rest=False)).follow("/nix/store") is None


def test_what_a_tree_never_gives() -> None:
    """Devices, the kernel's files, and the place of the registry: the base's, or nobody's."""
    never = {"/dev/null": "other", "/sys/x": "dir", "/proc/x": "dir", "/run": link("/home/run")}
    bindmap = replace(bare("/usr /etc"), base_rest=None)
    inside = built(MERGED.plus({**never, "/nix": "dir"}), BASE.without("/dev", "/sys", "/proc", "/run"), bindmap)
    assert inside.follow("/nix") == ("tree", "/nix")
    assert [inside.follow(f"/{name}") for name in ("dev", "sys", "proc", "run")] == [None] * 4


def test_other_kinds_at_the_trees_top_are_left_out() -> None:
    plan = plan_for(MERGED.plus({"/opt": "file"}))
    assert not [op for op in plan.operations if op.target == "/opt"]
    assert any("/opt of the tree" in str(note) for note in plan.notes)


@pytest.mark.parametrize("node", [link("/etc-real"), "file", None])
def test_a_tree_whose_etc_is_no_directory_is_refused(node: Node) -> None:
    tree = MERGED.without("/etc") if node is None else MERGED.plus({"/etc": node, "/etc-real": "dir"})
    with pytest.raises(TreeError, match="is not an OS tree") as caught:
        plan_for(tree)
    assert caught.value.object == "/srv/os/el9"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("/u/home", ("base", "/u/home")),
        ("u/home", ("base", "/u/home")),
        ("/usr/home", ("base", "/usr/home")),  # /usr is the tree's inside
        ("var/home", ("base", "/var/home")),
        ("/chos/home", ("base", "/chos/home")),  # /chos is / inside
        ("/local/home", ("base", "/local/home")),  # /local is the base inside
        ("/hop", ("base", "/usr/home")),
        ("/home", None),
        ("/nowhere", None),
        ("/usr/nowhere", None),
        ("/usr/..", ("base", "/")),
    ],
)
def test_a_top_level_link_of_the_base(to: str, expected: object) -> None:
    homes = {f"{top}/home/anna": "dir" for top in ("/u", "/usr", "/var", "/local")}
    homes.update({"/chos/home/anna": "dir"} if to == "/chos/home" else {})
    base = BASE.plus({"/home": link(to), "/hop": link("/usr/home"), **homes})
    assert built(base=base).follow("/home") == expected
    if expected and expected[1] != "/":
        assert built(base=base).follow("/home/anna") == ("base", expected[1] + "/anna")


def test_a_link_that_means_the_same_inside_stays_a_link() -> None:
    base = BASE.plus({"/home": link("/u/home"), "/u/home": "dir"})
    assert at(plan_for(base=base), "/home") == MakeSymlink("/home", "/u/home", at(plan_for(base=base), "/home").why)


def test_a_base_link_into_what_makelinks_took() -> None:
    base = BASE.plus({"/sw": "dir", "/mine": link("/sw/mine"), "/sw/mine": "dir"})
    settings = Sysconfig(make_links=True, origin=Origin("/etc/sysconfig/chos", 2))
    tree = MERGED.plus({"/sw": "dir", "/scratch": "dir"})
    inside = built(tree, base, sysconfig=settings)
    assert inside.follow("/sw") == ("tree", "/sw")
    assert inside.follow("/scratch") == ("tree", "/scratch")
    assert inside.follow("/mine") == ("base", "/sw/mine")
    assert inside.follow("/proc/self") == ("base", "/proc/self")


def test_regular_files_at_the_bases_top_are_links_to_local() -> None:
    plan = plan_for(
        base=BASE.plus(
            {"/swapfile": "file", "/socket": "other", "/vmlinuz": link("boot/vmlinuz-6"), "/boot/vmlinuz-6": "file"}
        )
    )
    assert at(plan, "/swapfile").to == "/local/swapfile"
    assert at(plan, "/vmlinuz").to == "boot/vmlinuz-6"
    assert not [op for op in plan.operations if op.target == "/socket"]


def test_the_bases_own_local_is_noted() -> None:
    plan = plan_for(base=BASE.plus({"/local/data": "dir"}))
    assert any("/local/local" in str(note) for note in plan.notes)
    inside = Machine(plan, MERGED, BASE.plus({"/local/data": "dir"}))
    assert inside.follow("/local/local/data") == ("base", "/local/data")


def test_os_trees_below_chos_have_one_path_inside_and_out() -> None:
    base = BASE.plus({"/chos/os/el9/usr": "dir", "/chos/home/x": "dir", "/chos/note": "file"})
    inside = built(base=base)
    assert inside.follow("/chos/os/el9/usr") == ("base", "/chos/os/el9/usr")
    assert inside.follow("/chos/home") == ("base", "/home")


def test_what_is_in_chos_never_stands_in_for_the_trees() -> None:
    base = BASE.plus({"/chos/opt/x": "dir", "/chos/srv": "dir", "/srv": link("/srv")})
    plan = plan_for(MERGED.without("/opt"), base)
    inside = Machine(plan, MERGED.without("/opt"), base)
    assert inside.follow("/opt") is None
    assert inside.follow("/srv") is None
    assert any("/local/chos/opt only" in str(note) for note in plan.notes)


# /var/run and its like.


@pytest.mark.parametrize(
    "theirs",
    [
        link("/run"),
        link("../run"),
        link("/local/run"),
        link("/local/var/run"),
        "dir",
        "file",
        link("/nowhere"),
        link("/usr/lib"),
        None,
    ],
)
@pytest.mark.parametrize("ours", [link("/run"), "dir"])
def test_var_run_is_the_bases(theirs: Node, ours: Node) -> None:
    tree = MERGED.without("/var/run") if theirs is None else MERGED.plus({"/var/run": theirs})
    base = BASE.plus({"/var/run": ours})
    assert built(tree, base).follow("/var/run") == ("base", "/run" if ours != "dir" else "/var/run")


def test_var_run_that_leads_to_run_costs_no_mount() -> None:
    plan = plan_for(bindmap=bare("/usr /etc /var", base="/var/run"))
    assert not [op for op in plan.operations if op.target.startswith("/var/")]
    assert not [op for op in plan.operations if isinstance(op, Overlay)]


def test_links_to_local_of_an_old_tree_are_enough() -> None:
    tree = MERGED.plus(
        {
            "/var/tmp": link("/local/var/tmp"),
            "/var/spool": link("../local/var/spool"),
            "/etc/ssh": link("/local/etc/ssh"),
        }
    )
    plan = plan_for(tree, bindmap=bare("/usr /etc /var", base="/var/tmp /var/spool", etc="ssh/ssh_known_hosts"))
    assert not [op for op in plan.operations if op.target.startswith("/var/") or isinstance(op, Overlay)]
    inside = Machine(plan, tree, BASE)
    assert inside.follow("/var/spool/slurmd") == ("base", "/var/spool/slurmd")
    assert inside.follow("/etc/ssh/ssh_known_hosts") == ("base", "/etc/ssh/ssh_known_hosts")


def test_a_share_that_the_base_lacks() -> None:
    plan = plan_for(bindmap=bare("/usr /etc /var", base="/var/nothing"))
    assert any("/var/nothing" in str(note) and "test-map.toml:1" in str(note) for note in plan.notes)
    needed = BindMap("x", Origin("x"), tree=shares("/usr", "/var"), base=shares("/var/nothing", required=True))
    with pytest.raises(PlanError, match="test-map.toml:1 requires it") as caught:
        plan_for(bindmap=needed)
    assert caught.value.object == "/var/nothing"
    assert plan_for(base=BASE.plus({"/var/nothing": "dir"}), bindmap=needed)


def test_what_is_the_bases_or_nobodys() -> None:
    users = "/usr/lib/userdb"
    only = BindMap("x", Origin("x"), tree=shares("/usr", "/var"), base=shares(users, "/home", only=True))
    tree = MERGED.plus({f"{users}/mallory.user": "file"})
    hidden = built(tree, bindmap=only)
    assert hidden.kind(users) is Kind.DIRECTORY
    assert hidden.follow(f"{users}/mallory.user") is None
    assert built(MERGED, bindmap=only).kind(users) is None, "what the tree has not needs no hiding"
    assert built(tree, BASE.plus({users: "dir"}), only).follow(users) == ("base", users)
    elsewhere = MERGED.plus({users: link("/usr/share"), "/usr/share/mallory.user": "file"})
    assert built(elsewhere, bindmap=only).follow(f"{users}/mallory.user") is None
    with pytest.raises(PlanError, match="would hide /usr/lib/userdb/x"):
        plan_for(tree, bindmap=only, binds=(bind("/home", f"{users}/x"),))


def test_a_share_through_a_link_of_the_tree_to_a_file() -> None:
    tree = MERGED.plus({"/var/lib": link("/usr/bin/sh")})
    with pytest.raises(PlanError, match="not a directory in the OS tree") as caught:
        plan_for(tree, BASE.plus({"/var/lib/sss": "dir"}), bare("/usr /var", base="/var/lib/sss"))
    assert "test-map.toml:1" in caught.value.hint


def test_shares_in_any_order() -> None:
    base = BASE.plus({"/var/lib/sss/pipes": "dir", "/usr/share/x": "dir"})
    for order in ("/var/lib/sss/pipes /var/lib /var/lib/sss", "/var/lib /var/lib/sss/pipes"):
        inside = built(base=base, bindmap=bare("/usr /var /etc", base=order))
        assert inside.follow("/var/lib/sss") == ("base", "/var/lib/sss")


# Extra binds.


@pytest.mark.parametrize(
    "target",
    [
        "/opt/x",
        "/opt",
        "/var/lib/deep/er",
        "/site/x/y",
        "/site",
        "/usr/bin/sh",
        "/lib64",
        "/home",
        "/home/anna",
        "/etc",
        "/etc/ssh",
        "/var/tmp",
        "/usr/bin",
        "/var/run",
        "/scratch",
    ],
)
def test_a_directory_anywhere(target: str) -> None:
    inside = built(binds=(bind("/gpfs/data", target),))
    assert inside.follow(target) == ("base", "/gpfs/data")


@pytest.mark.parametrize(
    "target",
    [
        "/opt/x",
        "/var/lib",
        "/site/x/y",
        "/site",
        "/usr/bin/sh",
        "/lib64",
        "/var/log/x",
        "/etc/passwd",
        "/etc/ssh",
        "/etc/localtime",
        "/opt",
        "/y",
    ],
)
def test_a_file_anywhere(target: str) -> None:
    inside = built(MERGED, BASE.plus({"/gpfs/file": "file", "/var/log/x": "file"}), binds=(bind("/gpfs/file", target),))
    assert inside.follow(target) == ("base", "/gpfs/file")


def test_a_bind_below_a_directory_of_the_base_needs_a_place_there() -> None:
    with pytest.raises(PlanError, match="cannot be a mount point inside") as caught:
        plan_for(binds=(bind("/gpfs/data", "/home/anna/data"),))
    assert caught.value.object == "/home/anna/data"
    assert str(bind("/x").origin) in caught.value.hint
    with pytest.raises(PlanError, match="cannot be a mount point inside"):  # /var/spool is a share
        plan_for(binds=(bind("/gpfs/data", "/var/spool/nothing"),))
    assert built(binds=(bind("/gpfs/data", "/var/spool/slurmd"),)).follow("/var/spool/slurmd") == ("base", "/gpfs/data")


def test_a_bind_must_be_there_or_be_optional() -> None:
    with pytest.raises(PlanError, match="is not a file or directory of the base") as caught:
        plan_for(binds=(bind("/nothing", "/opt/x"),))
    assert "/etc/chos.d/test.toml:7" in caught.value.hint
    with pytest.raises(PlanError, match="is not a file or directory of the base"):
        plan_for(binds=(bind("/dev/null", "/opt/x"),))
    plan = plan_for(binds=(bind("/nothing", "/opt/x", optional=True),))
    assert any("/nothing" in str(note) for note in plan.notes)


@pytest.mark.parametrize("to", ["/local", "/chos", "/"])
def test_a_link_of_the_tree_cannot_move_a_bind_over_our_own(to: str) -> None:
    tree = MERGED.plus({"/opt/trap": link(to)})
    for target in ("/opt/trap/local", "/opt/trap/chos", "/opt/trap/gpfs/new", "/opt/trap/new/x"):
        try:
            inside = built(tree, binds=(bind("/scratch", target),))
        except PlanError:
            continue
        assert inside.follow("/local") == ("base", "/")
        assert inside.follow(target) == ("base", "/scratch")


def test_a_link_of_the_tree_that_loops() -> None:
    with pytest.raises(PlanError, match="loop of symbolic links"):
        plan_for(MERGED.plus({"/opt/a": link("b"), "/opt/b": link("a")}), binds=(bind("/gpfs/data", "/opt/a/x"),))


def test_the_last_bind_at_a_place_counts() -> None:
    settings = Sysconfig(bind_mounts=(bind("/scratch", "/opt/x", optional=True),))
    inside = built(sysconfig=settings, binds=(bind("/gpfs/data", "/opt/x"),))
    assert inside.follow("/opt/x") == ("base", "/gpfs/data")


def test_flags_that_a_directory_of_the_base_does_not_have_already() -> None:
    """A line `source = target` is not for nothing when it asks for more than showing."""
    plan = plan_for(binds=(bind("/gpfs", read_only=True), bind("/gpfs/data"), bind("/dev/shm"), bind("/home")))
    assert at(plan, "/gpfs").flags == Flags(read_only=True)
    assert at(plan, "/gpfs/data").flags == Flags()
    assert at(plan, "/dev/shm").flags == Flags()
    assert at(plan, "/home").why.text != "extra bind"


def test_below_a_link_of_ours_there_is_the_base() -> None:
    """An entry below an entry that is a link would be made on the base, by root."""
    tree = MERGED.plus({"/etc/condor/config": "file"})
    base = BASE.plus({"/etc/condor/config": "file"})
    with pytest.raises(PlanError, match="cannot be a mount point"):
        plan_for(tree, base, bare(etc="condor"), binds=(bind("/gpfs/data", "/etc/condor/config"),))


# Identity.


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ("file", "/local/etc/x"),
        ("dir", "/local/etc/x"),
        (link("/usr/share/zoneinfo/Europe/Berlin"), "/local/usr/share/zoneinfo/Europe/Berlin"),
        (link("../usr/share/zoneinfo/Europe/Berlin"), "/local/etc/x"),
        (link("../../usr/share/zoneinfo/Europe/Berlin"), "/local/usr/share/zoneinfo/Europe/Berlin"),
        (link("/run/../usr/share/zoneinfo/Europe/Berlin"), "/local/usr/share/zoneinfo/Europe/Berlin"),
        (link("../run/lock"), "/local/etc/x"),
        (link("/run/lock"), "/local/etc/x"),
        (link("/etc/hosts"), "/local/etc/hosts"),
        (link("hosts"), "/local/etc/x"),
        (link("/"), "/local/"),
        (link("/run/nothing"), "/local/etc/x"),
        (link("/usr/nothing"), "/local/usr/nothing"),
        (link("/local/own"), "/local/local/own"),
    ],
)
def test_links_to_the_bases_files(node: Node, text: str) -> None:
    base = BASE.plus({"/etc/x": node, "/local/own": "file"})
    plan = plan_for(base=base, bindmap=bare(etc="x"))
    overlay = at(plan, "/etc")
    assert isinstance(overlay, Overlay)
    assert [(entry.path, entry.to) for entry in overlay.entries] == [("x", text)]


SELINUX = {"/etc/selinux/config": "file", "/etc/selinux/targeted/seusers": "file"}


@pytest.mark.parametrize("etc", ["", "passwd", "selinux", "selinux/config", "selinux passwd selinux/targeted/seusers"])
@pytest.mark.parametrize(
    "theirs", [{}, SELINUX, {"/etc/selinux": link("/usr/share/mine"), "/usr/share/mine/config": "file"}]
)
def test_selinux_is_the_bases(theirs: dict[str, Node], etc: str) -> None:
    """sshd asks there as root, inside, which context its user gets: no bind map of a site's own loses it."""
    machine = built(MERGED.plus(theirs), base=BASE.plus(SELINUX), bindmap=bare(etc=etc))
    assert machine.follow("/etc/selinux") == ("base", "/etc/selinux")
    assert machine.follow("/etc/selinux/config") == ("base", "/etc/selinux/config")
    assert machine.follow("/etc/selinux/targeted/seusers") == ("base", "/etc/selinux/targeted/seusers")


def test_a_base_without_selinux() -> None:
    """The tree's says nothing then: the kernel is not asked."""
    assert "selinux" not in [entry.path for entry in at(plan_for(base=BASE), "/etc").entries]


def test_identity_entries_are_missing_where_the_base_has_none() -> None:
    plan = plan_for()
    assert "shadow" not in [entry.path for entry in at(plan, "/etc").entries]
    assert any("/etc/shadow" in str(note) for note in plan.notes)


@pytest.mark.parametrize("theirs", ["dir", None, link("/usr/share/ssh")])
def test_a_link_in_a_directory_of_etc(theirs: Node) -> None:
    tree = MERGED.without("/etc/ssh") if theirs is None else MERGED.without("/etc/ssh").plus({"/etc/ssh": theirs})
    tree = tree.plus({"/usr/share/ssh": "dir"})
    assert built(tree).follow("/etc/ssh/ssh_known_hosts") == ("base", "/etc/ssh/ssh_known_hosts")


def test_one_overlay_for_all_of_etc() -> None:
    plan = plan_for(bindmap=bare(etc="passwd ssh/ssh_known_hosts"), binds=(bind("/gpfs/data", "/etc/ssh/deep/er"),))
    assert [op.target for op in plan.operations if isinstance(op, Overlay)] == ["/etc"]
    assert [entry.path for entry in at(plan, "/etc").entries] == ["passwd", "ssh/ssh_known_hosts", "ssh/deep/er"]


def test_a_loop_in_the_bases_etc() -> None:
    with pytest.raises(PlanError, match="loop of symbolic links on the base"):
        plan_for(base=BASE.plus({"/etc/hosts": link("hosts")}))


# The launcher.


@pytest.mark.parametrize("node", ["file", "dir", "other", link("/bin/sh"), link("/nowhere"), None])
@pytest.mark.parametrize("tree", [MERGED, UNMERGED])
def test_the_launcher_is_the_bases_whatever_the_tree_has(tree: object, node: Node) -> None:
    tree = tree.without("/usr/bin/chos") if node is None else tree.plus({"/usr/bin/chos": node})
    plan = plan_for(tree, launcher=LAUNCHER)
    assert Machine(plan, tree, BASE).follow("/usr/bin/chos") == ("base", "/usr/bin/chos")
    assert at(plan, "/usr/bin/chos").flags == Flags(nosuid=False, nodev=True, read_only=True)


@pytest.mark.parametrize("lacking", ["/usr/bin", "/usr"])
def test_the_launcher_in_a_tree_without_its_directory(lacking: str) -> None:
    inside = built(UNMERGED.without(lacking), launcher=LAUNCHER)
    assert inside.follow("/usr/bin/chos") == inside.follow("/usr/bin/chos-job-starter") == ("base", "/usr/bin/chos")


def test_the_launcher_in_a_directory_of_the_base() -> None:
    base = BASE.plus({"/gpfs/sw/bin/chos": "file", "/gpfs/sw/bin/chos-job-starter": "file"})
    plan = plan_for(base=base, launcher=Launcher("/gpfs/sw/bin/chos"))
    assert at(plan, "/gpfs/sw/bin/chos").flags.nosuid is False
    starter = "/gpfs/sw/bin/chos-job-starter"
    assert Machine(plan, MERGED, base).follow(starter) == ("base", starter)
    assert len(plan.warnings) == 1 and "below /usr" in plan.warnings[0]
    assert plan.to_json()["warnings"] == list(plan.warnings)
    assert plan_for(base=base, launcher=LAUNCHER).warnings == ()


def test_the_launcher_behind_a_link_of_the_base() -> None:
    base = BASE.plus({"/usr/local": link("/opt/local"), "/opt/local/bin/chos": "file"})
    inside = built(base=base, launcher=Launcher("/usr/local/bin/chos"))
    assert inside.follow("/usr/local/bin/chos") == ("base", "/opt/local/bin/chos")


def test_no_launcher() -> None:
    assert not [op for op in plan_for().operations if op.target.endswith("chos") and isinstance(op, Bind)]


# /etc/sysconfig/chos.


def test_bindmount() -> None:
    settings = Sysconfig(
        bind_mounts=(bind("/opt", optional=True), bind("/srv/none", optional=True), bind("/lib32", optional=True)),
        origin=Origin("/etc/sysconfig/chos"),
    )
    for tree in (MERGED, MERGED.without("/opt"), MERGED.plus({"/opt": link("usr/lib")})):
        assert built(tree, sysconfig=settings).follow("/opt") == ("base", "/opt")
    tree = MERGED.plus({"/lib32": "dir"})  # the base has none: the tree's stays
    assert built(tree, sysconfig=settings).follow("/lib32") == ("tree", "/lib32")


def test_makelinks() -> None:
    tree = MERGED.plus({"/scratch/mine": "dir", "/tmp": "dir", "/gpfs": link("scratch")})
    settings = Sysconfig(make_links=True, bind_mounts=(bind("/home", optional=True),))
    inside = built(tree, sysconfig=settings)
    assert inside.follow("/scratch/mine") == ("tree", "/scratch/mine")
    assert inside.follow("/gpfs") == ("tree", "/scratch")
    assert inside.follow("/home/anna") == ("base", "/home/anna")
    for name in ("/proc", "/sys", "/dev", "/tmp", "/run"):
        assert inside.follow(name) == ("base", name)


def test_makelinks_has_one_order() -> None:
    """Else the order of a directory, which changes, would make a new generation of the same."""
    settings = Sysconfig(make_links=True)
    tree = Root(dict.fromkeys(["/etc", "/b", "/a", "/c"], "dir"))
    orders = [["/c", "/a", "/b"], ["/b", "/c", "/a"]]
    plans = [plan_for(tree, Root(dict.fromkeys(order, "dir")), bare("/etc"), sysconfig=settings) for order in orders]
    assert plans[0].fingerprint() == plans[1].fingerprint()


# Flags.


@pytest.mark.parametrize("policy", [Policy(), Policy(nosuid=False), Policy(nodev=False), Policy(read_only=True)])
def test_policy_is_about_the_tree_only(policy: Policy) -> None:
    wanted = Flags(policy.nosuid, policy.nodev, policy.read_only)
    for op in plan_for(policy=policy, launcher=LAUNCHER).operations:
        if isinstance(op, Overlay):
            assert op.flags == Flags(policy.nosuid, policy.nodev, True), op
        elif isinstance(op, Bind) and op.side == "tree":
            assert op.flags == wanted, op
        elif isinstance(op, Bind) and "dev" not in op.target and op.target != "/usr/bin/chos":
            assert op.flags == Flags(), op


def test_devices() -> None:
    plan = plan_for()
    open_to = [op.target for op in plan.operations if isinstance(op, Bind) and not op.flags.nodev]
    assert open_to == ["/dev", "/local/dev"]
    assert plan.operations[-1].target == "/local/dev"
    extra = plan_for(binds=(bind("/gpfs/data", "/opt/d", devices=True),))
    assert at(extra, "/opt/d").flags == Flags(nodev=False)


def test_devices_below_a_directory_and_through_a_link() -> None:
    here = Origin("m", 1)
    base = BASE.plus({"/srv": link("/gpfs"), "/gpfs/dev": "dir"})
    bindmap = BindMap(
        "m",
        here,
        tree=shares("/usr", "/etc"),
        base_rest=here,
        base=shares("/dev/shm", "/srv/dev", "/dev", devices=True),
    )
    plan = plan_for(base=base, bindmap=bindmap)
    Machine(plan, MERGED, base)
    open_to = [op.target for op in plan.operations if isinstance(op, Bind) and not op.flags.nodev]
    assert {"/dev", "/gpfs/dev", "/local/dev", "/local/dev/shm", "/local/gpfs/dev"} <= set(open_to)
    assert open_to.index("/local/dev") < open_to.index("/local/dev/shm")


# Words.


def test_operations_describe_themselves() -> None:
    plan = plan_for(launcher=LAUNCHER)
    text = "\n".join(op.describe() for op in plan.operations)
    assert "bind     /home = base:/home" in text
    assert "overlay  /etc = tree:/etc + passwd, group, hosts, resolv.conf and " in text
    assert "symlink  /chos -> /" in text
    assert all("\n" not in op.describe() for op in plan.operations)
    assert str(at(plan, "/home").why).startswith("everything else is taken from the base (default.toml:")


def test_kinds_of_a_plan_in_json() -> None:
    data = plan_for(launcher=LAUNCHER).to_json()
    assert data["operations"][0]["operation"] == "MakeRoot"
    launcher = [op for op in data["operations"] if op.get("target") == "/usr/bin/chos"][0]
    assert launcher["flags"] == ["nodev", "ro"]
    etc = [op for op in data["operations"] if op["operation"] == "Overlay" and op["target"] == "/etc"][0]
    passwd = {"path": "passwd", "why": "taken from the base", "to": "/local/etc/passwd", "file": False}
    assert passwd.items() <= etc["entries"][0].items()
    assert etc["entries"][0]["origin"].startswith("default.toml:")


def test_the_view_of_a_machine_has_kinds() -> None:
    """The machine itself: an overlay's entry hides the tree's file."""
    inside = built()
    assert inside.kind("/etc/passwd") is Kind.LINK
    assert inside.kind("/etc/os-release") is Kind.FILE
    assert inside.kind("/etc/nothing") is None


def test_a_database_of_rpm_in_the_wrong_place() -> None:
    """Named with what mends it; not where rpm is a guest, and looks there itself."""
    stray = {"/root/.rpmdb/rpmdb.sqlite": "file"}
    (said,) = plan_for(tree=MERGED.plus(stray)).warnings
    assert said.startswith("/srv/os/el9/root/.rpmdb: ") and "`rm -r /srv/os/el9/root/.rpmdb`" in said
    assert "`rpmdb --root /srv/os/el9 --dbpath /root/.rpmdb --exportdb | chroot /srv/os/el9 rpmdb --importdb`" in said
    assert plan_for(tree=MERGED.plus({**stray, "/var/lib/dpkg/status": "file"})).warnings == ()
    assert plan_for(tree=MERGED).warnings == ()
