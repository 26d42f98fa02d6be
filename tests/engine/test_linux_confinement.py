"""What a Linux container is given, as a bundle says it, and what is refused before it is made."""

import json
from pathlib import Path
from typing import Any

import pytest

from wherry.engine import InvalidRequest
from wherry.engine.containers import users
from wherry.engine.containers.users import User
from wherry.engine.linux import Security, choose_capabilities, harden, read_security
from wherry.engine.linux import capabilities as capabilities_module
from wherry.engine.linux.capabilities import DEFAULT
from wherry.engine.linux.platforms import emulated
from wherry.engine.linux.profile import read_profile
from wherry.engine.linux.seccomp import ALLOW, Rule, default_profile, names_of
from wherry.oci import encode
from wherry.oci import runtime as oci

ALL = [f"CAP_{name}" for name in capabilities_module._NUMBERED]


@pytest.fixture(autouse=True)
def all_powerful(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process could give every capability."""
    monkeypatch.setattr(capabilities_module, "grantable", lambda: ALL)


@pytest.mark.parametrize(
    ("add", "drop", "chosen"),
    [
        ([], [], DEFAULT),
        (["net_admin"], [], [*DEFAULT, "CAP_NET_ADMIN"]),
        (["CAP_CHOWN"], [], DEFAULT),
        ([], ["CAP_CHOWN", "kill"], [c for c in DEFAULT if c not in ("CAP_CHOWN", "CAP_KILL")]),
        ([], ["all"], []),
        (["CHOWN"], ["ALL"], ["CAP_CHOWN"]),
        (["ALL"], [], ALL),
        (["ALL"], ["SYS_ADMIN"], [c for c in ALL if c != "CAP_SYS_ADMIN"]),
    ],
)
def test_capabilities_are_added_and_dropped(
    add: list[str], drop: list[str], chosen: list[str]
) -> None:
    assert choose_capabilities(add, drop) == list(chosen)


def test_what_cannot_be_given_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities_module, "grantable", lambda: ["CAP_CHOWN", "CAP_KILL"])
    assert sorted(choose_capabilities([], [])) == ["CAP_CHOWN", "CAP_KILL"]
    assert choose_capabilities([], [], privileged=True) == ["CAP_CHOWN", "CAP_KILL"]
    with pytest.raises(InvalidRequest, match="wherryd does not have"):
        choose_capabilities(["SYS_TIME"], [])
    with pytest.raises(InvalidRequest, match="unknown capability 'FLY'"):
        choose_capabilities([], ["FLY"])


def allowed(rules: list[Rule] | None) -> set[str]:
    return names_of(rule for rule in rules or () if rule.action == ALLOW and not rule.args)


def test_the_profile_follows_the_capabilities() -> None:
    plain = allowed(default_profile(DEFAULT).syscalls)
    assert plain >= {"execve", "openat", "futex", "socketpair", "chroot", "ptrace", "statx"}
    assert plain.isdisjoint({"mount", "clone", "clone3", "bpf", "keyctl", "io_uring_setup"})
    assert "chroot" not in allowed(default_profile([]).syscalls)
    admin = allowed(default_profile(["CAP_SYS_ADMIN"]).syscalls)
    assert admin - plain >= {"mount", "clone", "clone3", "setns", "bpf"}
    assert not admin & {"keyctl", "kexec_load", "swapon", "userfaultfd"}


@pytest.mark.parametrize(
    ("architecture", "own", "names"),
    [
        ("amd64", "SCMP_ARCH_X86_64", {"arch_prctl"}),
        ("arm64", "SCMP_ARCH_AARCH64", {"set_tls"}),
        ("riscv64", "SCMP_ARCH_RISCV64", {"riscv_flush_icache"}),
    ],
)
def test_the_profile_is_the_machines(architecture: str, own: str, names: set[str]) -> None:
    profile = default_profile(DEFAULT, architecture)
    assert (profile.architectures or [""])[0] == own
    assert allowed(profile.syscalls) >= names


def test_a_profile_of_ones_own_holds_as_far_as_it_is_meant() -> None:
    text = json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
            ],
            "syscalls": [
                {"names": ["always"], "action": ALLOW, "comment": "x"},
                {"name": "old", "action": ALLOW},
                {"names": ["with"], "action": ALLOW, "includes": {"caps": ["CAP_A"]}},
                {"names": ["without"], "action": ALLOW, "excludes": {"caps": ["CAP_A"]}},
                {"names": ["elsewhere"], "action": ALLOW, "includes": {"arches": ["vax"]}},
                {"names": ["later"], "action": ALLOW, "includes": {"minKernel": "99.1"}},
                {"names": ["now"], "action": ALLOW, "includes": {"minKernel": "3.0"}},
            ],
        }
    )
    assert names_of(read_profile(text, ["CAP_A"]).syscalls or ()) == {
        "always", "old", "with", "now",
    }  # fmt: skip
    assert "without" in names_of(read_profile(text, []).syscalls or ())


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"defaultAction": 1}', '{"defaultAction": "x", "syscalls": [{}]}',
        '{"defaultAction": "x", "syscalls": [{"action": "SCMP_ACT_NOTIFY", "names": ["a"]}]}',
        '{"defaultAction": "x", "syscalls": '
        '[{"action": "a", "names": ["a"], "includes": {"minKernel": "new"}}]}',
        " " * (1 << 21),
    ],
)  # fmt: skip
def test_a_profile_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidRequest, match="seccomp profile") as refused:
        read_profile(text, [])
    assert "\n" not in refused.value.message


def test_security_options_are_read_in_dockers_words() -> None:
    assert read_security([]) == (Security(), [])
    options = ["no-new-privileges", "seccomp=unconfined", "systempaths=unconfined"]
    assert read_security(options)[0] == Security(True, "unconfined", True)
    assert read_security(["no-new-privileges:false"])[0] == Security()
    assert read_security(["seccomp=builtin"])[0] == Security()
    assert read_security(["apparmor=unconfined", "label=disable"]) == (Security(), [])
    assert "apparmor" in read_security(["apparmor=mine"])[1][0]
    for wrong in ("no-new-privileges=perhaps", "seccomp", "magic", "systempaths=open", ""):
        with pytest.raises(InvalidRequest, match="security-opt"):
            read_security([wrong])


def hardened(security: Security | None = None, *, privileged: bool = False) -> dict[str, Any]:
    linux = oci.Linux(namespaces=[oci.Namespace(type="network")])
    spec = oci.Spec(oci_version="1.1.0", linux=linux)
    given = security or Security()
    harden(spec, given, privileged=privileged, capabilities=list(DEFAULT))
    found: dict[str, Any] = json.loads(encode(spec))["linux"]
    return found


def test_a_bundle_says_what_holds_it() -> None:
    linux = hardened()
    assert linux["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert linux["sysctl"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert "devices" not in linux
    opened = hardened(Security(seccomp="unconfined", open_paths=True))
    assert not opened.keys() & {"seccomp", "maskedPaths", "readonlyPaths"}
    privileged = hardened(privileged=True)
    assert not privileged.keys() & {"seccomp", "maskedPaths", "readonlyPaths"}
    paths = {device["path"] for device in privileged["devices"]}
    assert "/dev/null" in paths
    assert "/dev/stdin" not in paths
    assert not any(path.startswith(("/dev/pts/", "/dev/shm/")) for path in paths)


def test_an_interpreter_counts_if_containers_can_use_it(tmp_path: Path) -> None:
    magic = "7f454c460201010000000000000000000200b700"
    entry = "enabled\ninterpreter /usr/bin/qemu\nflags: {}\noffset 0\nmagic {}\nmask ff\n"
    (tmp_path / "register").write_text("")
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "good").write_text(entry.format("POCF", magic))
    big = "7f454c4602020100000000000000000000020016"
    (tmp_path / "big").write_text(entry.format("F", big))
    (tmp_path / "not-opened").write_text(entry.format("OC", magic.replace("b700", "f300")))
    (tmp_path / "off").write_text(
        entry.format("F", magic.replace("b700", "2800")).replace("enabled", "disabled")
    )
    (tmp_path / "python").write_text("enabled\ninterpreter /x\nflags: F\nextension .py\n")
    (tmp_path / "odd").write_text(entry.format("F", "zz"))
    assert [str(one) for one in emulated(tmp_path)] == ["linux/s390x", "linux/arm64"]
    assert emulated(tmp_path / "nothing") == []


def test_ids_that_the_engine_has_not_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "maps_id", lambda kind, number: number < 5)
    assert users.mapped(User(1, 2, [3, 10], "/")) == User(1, 2, [3], "/")
    with pytest.raises(InvalidRequest, match=r"uid 10 .*subuid"):
        users.mapped(User(10, 2, [], "/"))
    with pytest.raises(InvalidRequest, match="gid 11"):
        users.mapped(User(1, 11, [], "/"))
