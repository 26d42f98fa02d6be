"""`install containerd` on a pretended machine, for each version of its configuration."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.install.conftest import Pretended

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/wherry.toml"
OURS = {"runtime_type": "io.containerd.wherry.v1"}
V2 = "io.containerd.grpc.v1.cri"
V3 = "io.containerd.cri.v1.runtime"

SECTIONS = {
    1: '[plugins.cri.containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n',
    2: f'[plugins."{V2}"]\n  [plugins."{V2}".containerd]\n    default_runtime_name = "runc"\n'
    f'    [plugins."{V2}".containerd.runtimes]\n'
    f'      [plugins."{V2}".containerd.runtimes.runc]\n'
    '        runtime_type = "io.containerd.runc.v2"\n',
    3: f"[plugins.'{V3}'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n",
}


def runs_containerd(machine: Pretended, version: str) -> None:
    """Have a containerd of that version, as far as wherry can tell without running it."""
    machine.has_program("containerd", version)


@pytest.fixture(autouse=True)
def versions(machine: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of the pretended machine tell their version without being run in it."""
    from wherry.install import asking

    def version(host: object, name: str) -> asking.Version | None:
        return asking.parse_version(machine.read(f"/usr/bin/{name}"))

    monkeypatch.setattr(asking, "version", version)


@pytest.mark.parametrize(("version", "plugin"), [(1, "cri"), (2, V2)])
def test_containerd_1_gets_the_handler_beside_its_others(
    machine: Pretended, version: int, plugin: str
) -> None:
    head = "version = 2\n" if version == 2 else ""
    machine.has_program("containerd", "1.7.24")
    machine.has(CONFIG, f"{head}# mine\n{SECTIONS[version]}")
    assert machine("install", "containerd", "--also", "wasmedge")[0] == 0
    runtimes = tomllib.loads(machine.read(CONFIG))["plugins"][plugin]["containerd"]["runtimes"]
    assert runtimes["wherry"] == runtimes["wasmedge"] == OURS
    assert runtimes["runc"] == {"runtime_type": "io.containerd.runc.v2"}
    assert "# mine" in machine.read(CONFIG)
    assert not machine.at(DROP_IN).exists()


def test_containerd_1_gets_the_handler_in_the_file_whose_section_counts(
    machine: Pretended,
) -> None:
    machine.has_program("containerd", "1.6.20")
    machine.has(CONFIG, f'version = 2\nimports = ["/etc/a.toml", "b.toml"]\n{SECTIONS[2]}')
    machine.has("/etc/a.toml", f'version = 2\n[plugins."{V2}"]\nsandbox_image = "x"\n')
    machine.has("/etc/containerd/b.toml", "version = 2\n")
    main, other = machine.read(CONFIG), machine.read("/etc/containerd/b.toml")
    assert machine("install", "containerd")[0] == 0
    assert (machine.read(CONFIG), machine.read("/etc/containerd/b.toml")) == (main, other)
    cri = tomllib.loads(machine.read("/etc/a.toml"))["plugins"][V2]
    assert cri["sandbox_image"] == "x"
    assert cri["containerd"]["runtimes"]["wherry"] == OURS


def test_containerd_1_without_handlers_keeps_its_own_runc(machine: Pretended) -> None:
    machine.has_program("containerd", "1.7.24")
    machine.has(CONFIG, f'version = 2\n[plugins."{V2}"]\nsandbox_image = "x"\n')
    machine("install", "containerd")
    runtimes = tomllib.loads(machine.read(CONFIG))["plugins"][V2]["containerd"]["runtimes"]
    assert runtimes == {"wherry": OURS, "runc": {"runtime_type": "io.containerd.runc.v2"}}


@pytest.mark.parametrize("version", [2, 3])
def test_containerd_2_gets_a_file_of_its_own(machine: Pretended, version: int) -> None:
    machine.has(CONFIG, f"version = {version}\n{SECTIONS[version]}")
    before = tomllib.loads(machine.read(CONFIG))
    assert machine("install", "containerd")[0] == 0
    after = tomllib.loads(machine.read(CONFIG))
    assert after.pop("imports") == ["/etc/containerd/conf.d/wherry*.toml"]
    assert after == before
    ours = tomllib.loads(machine.read(DROP_IN))
    # A file that names another version than the first one is refused, or spoils it.
    assert ours["version"] == version
    plugin = V2 if version == 2 else V3
    assert ours["plugins"][plugin]["containerd"]["runtimes"] == {"wherry": OURS}
    assert ours["plugins"]["io.containerd.cri.v1.images"] == {"use_local_image_pull": True}


def test_an_import_that_is_there_is_used(machine: Pretended) -> None:
    machine.has(CONFIG, 'version = 3\nimports = ["/etc/containerd/conf.d/*.toml"]\n')
    before = machine.read(CONFIG)
    assert machine("install", "containerd")[0] == 0
    assert machine.read(CONFIG) == before
    assert machine.at(DROP_IN).exists()
    assert machine("install", "containerd", "--dry-run")[1].startswith("containerd 2.1.9")
    assert "nothing to do" in machine("install", "containerd")[1]


def test_version_1_under_containerd_2_gets_no_handler_and_is_told_why(machine: Pretended) -> None:
    machine.has(CONFIG, 'disabled_plugins = ["cri"]\n')
    before = machine.read(CONFIG)
    code, _, err = machine("install", "containerd")
    assert code == 0
    assert "containerd config migrate" in err
    assert machine.read(CONFIG) == before
    assert machine.at("/usr/local/bin/containerd-shim-wherry-v1").is_symlink()


def test_a_cri_that_is_turned_off_is_told(machine: Pretended) -> None:
    machine.has(CONFIG, f'version = 2\ndisabled_plugins = ["{V2}"]\n')
    assert "turns the CRI off" in machine("install", "containerd")[2]


@pytest.mark.parametrize("version", ["1.6.20", "1.7.24", "2.0.5", "2.1.9", "2.3.3"])
def test_without_a_configuration_there_is_none_afterwards(machine: Pretended, version: str) -> None:
    machine.has_program("containerd", version)
    before = machine.snapshot()
    assert machine("install", "containerd")[0] == 0
    assert tomllib.loads(machine.read(CONFIG))["version"] == (2 if version < "2" else 3)
    assert "nothing to do" in machine("install", "containerd")[1]
    assert machine("uninstall", "containerd")[0] == 0
    assert machine.snapshot() == before


LINES = st.lists(
    st.sampled_from(["", "# wherry is not here", "\t# x", 'root = "/a"', "oom_score = 0"]),
    max_size=3,
    unique=True,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["1.6.20", "1.7.24", "2.1.9"]),
    LINES,
    st.sampled_from(["", 'imports = ["/etc/x/*.toml"]']),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\n", "\n\n"]),
)
def test_install_and_uninstall_leave_no_trace(
    machine: Pretended,
    version: int,
    containerd: str,
    lines: list[str],
    imports: str,
    section: bool,
    newline: str,
    end: str,
) -> None:
    machine.has_program("containerd", containerd)
    head = [] if version == 1 else [f"version = {version}"]
    body = [SECTIONS[version].rstrip()] if section else []
    text = "\n".join([*head, *lines, *[imports] * bool(imports), *body]) + end
    machine.has(CONFIG, text.replace("\n", newline)).chmod(0o600)
    before = machine.snapshot()
    assert machine("install", "containerd", "--also", "wasmer")[0] == 0
    tomllib.loads(machine.read(CONFIG))
    assert machine("uninstall", "containerd")[0] == 0
    assert machine.snapshot() == before


def test_what_the_person_added_since_is_kept(machine: Pretended) -> None:
    machine.has_program("containerd", "1.7.24")
    machine.has(CONFIG, "version = 2\n" + SECTIONS[2])
    machine("install", "containerd")
    machine.has(CONFIG, machine.read(CONFIG) + "\n[debug]\nlevel = 'debug'\n")
    machine("uninstall", "containerd")
    assert tomllib.loads(machine.read(CONFIG)) == tomllib.loads(
        "version = 2\n[debug]\nlevel = 'debug'\n" + SECTIONS[2]
    )


def test_lines_of_ours_that_were_changed_are_left_and_told(machine: Pretended) -> None:
    machine.has_program("containerd", "1.7.24")
    machine.has(CONFIG, "version = 2\n" + SECTIONS[2])
    machine("install", "containerd")
    changed = machine.read(CONFIG) + '  pod_annotations = ["a"]\n'
    changed = changed.replace('wherry.v1"\n', 'wherry.v1"  # mine\n')
    machine.has(CONFIG, changed)
    code, _, err = machine("uninstall", "containerd")
    assert code == 0
    assert f"{CONFIG}: kept" in err
    assert machine.read(CONFIG) == changed


def test_a_drop_in_that_was_changed_is_neither_overwritten_nor_removed(machine: Pretended) -> None:
    machine.has(CONFIG, "version = 3\n")
    machine("install", "containerd")
    machine.has(DROP_IN, machine.read(DROP_IN) + "# mine\n")
    code, _, err = machine("install", "containerd")
    assert code == 1 and "changed since wherry wrote it" in err
    code, _, err = machine("uninstall", "containerd")
    assert code == 0 and f"{DROP_IN}: kept" in err
    assert machine.read(DROP_IN).endswith("# mine\n")


@pytest.mark.parametrize("text", ["a = ", "version = 2\nplugins = {}\n", b"\xff", "imports = 1\n"])
def test_what_cannot_be_edited_is_named_and_left_alone(
    machine: Pretended, text: str | bytes
) -> None:
    machine.has_program("containerd", "1.7.24" if "plugins" in str(text) else "2.1.9")
    if text == "imports = 1\n":
        text = "version = 3\n" + text
    machine.has(CONFIG, text)
    before = machine.snapshot()
    code, _, err = machine("install", "containerd")
    assert code == 1
    assert CONFIG in err and len(err.splitlines()) == 1
    assert machine.snapshot() == before


def test_configurations_that_import_each_other_end(machine: Pretended) -> None:
    machine.has(CONFIG, f'version = 3\nimports = ["{CONFIG}", "/etc/b.toml"]\n')
    machine.has("/etc/b.toml", f'imports = ["{CONFIG}"]\n')
    assert machine("install", "containerd")[0] == 0
