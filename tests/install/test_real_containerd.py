"""The configurations as real containerds read them: 1.6, 1.7 and 2.1, in machines of their own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import without
from tests.cri.node import ThisMachine
from tests.debian import Machine, Suite, SuiteMissing

pytestmark = [pytest.mark.root, pytest.mark.containerd]

CONFIG = "/etc/containerd/config.toml"
PLUGINS = {1: "io.containerd.grpc.v1.cri", 2: "io.containerd.cri.v1.runtime"}
HEADS = {
    "none": None,
    "version 2": "version = 2\n# mine\n",
    "version 2 with handlers": (
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/mine"\n'
        '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\n'
        'runtime_type = "io.containerd.runc.v2"\n'
        '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.mine]\n'
        'runtime_type = "io.containerd.mine.v1"\n'
    ),
    "version 2 with imports": 'version = 2\nimports = ["/etc/mine.toml"]\n',
    "version 3": (
        "version = 3\nimports = [\n  '/etc/mine3.toml', # mine\n]\n"
        "[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'native'\n"
    ),
}
MINE = (
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/mine"\n'
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.mine]\n'
    'runtime_type = "io.containerd.mine.v1"\n'
)
MINE_3 = (
    "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.mine]\n"
    "runtime_type = 'io.containerd.mine.v1'\n"
)


@pytest.fixture(scope="module", params=["this machine", "trixie", "forky"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    try:
        suite = ThisMachine() if request.param == "this machine" else Suite(request.param)
        with suite.machine() as machine:
            # A path of the machine that daemons have, and no configuration of its own.
            (machine.folder / "mine.toml").write_text(MINE)
            (machine.folder / "mine3.toml").write_text(MINE_3)
            script = f"cp {machine.folder}/mine*.toml /etc/"
            assert machine.run("sh", "-c", script).returncode == 0
            yield machine
    except SuiteMissing as error:
        if request.param == "forky":
            pytest.skip(str(error))  # Debian's testing moves, also in CI
        without(str(error))


def containerd_version(machine: Machine) -> tuple[int, ...]:
    words = machine.run("containerd", "--version").stdout.split()
    return tuple(int(part) for part in words[2].lstrip("v").split("~")[0].split(".")[:2])


def dump(machine: Machine) -> dict[str, Any]:
    """The whole configuration as this containerd puts it together."""
    done = machine.run("containerd", "config", "dump")
    assert done.returncode == 0, done.stderr
    return tomllib.loads(done.stdout)


@pytest.mark.parametrize("head", HEADS)
def test_containerd_gets_the_handler_and_nothing_else_changes(machine: Machine, head: str) -> None:
    version = containerd_version(machine)
    text = HEADS[head]
    if head == "version 3" and version < (2, 0):
        return  # no configuration of that containerd
    machine.run("rm", "-rf", "/etc/containerd", "/var/lib/wherry")
    machine.run("mkdir", "/etc/containerd")
    if text is not None:
        (machine.folder / "config.toml").write_text(text)
        machine.run("cp", f"{machine.folder}/config.toml", CONFIG)
        before = dump(machine)
    else:
        before = tomllib.loads(machine.run("containerd", "config", "default").stdout)
    done = machine.run("wherry", "install", "containerd")
    assert done.returncode == 0, done.stderr
    after = dump(machine)
    assert "nothing to do" in machine.run("wherry", "install", "containerd").stdout

    plugin = PLUGINS[min(version[0], 2)]
    runtimes = after["plugins"][plugin]["containerd"]["runtimes"]
    assert runtimes.pop("wherry")["runtime_type"] == "io.containerd.wherry.v1"
    had = before["plugins"][plugin]["containerd"]["runtimes"]
    # containerd's own defaults of runc's options are not written out again; they are empty.
    for name in set(had) & set(runtimes):
        assert runtimes.pop(name)["runtime_type"] == had.pop(name)["runtime_type"]
    assert runtimes == had
    if version >= (2, 1):
        assert after["plugins"]["io.containerd.cri.v1.images"].pop("use_local_image_pull") is True
        before["plugins"]["io.containerd.cri.v1.images"].pop("use_local_image_pull")
    assert after["plugins"] == before["plugins"]
    for document in (before, after):
        del document["plugins"], document["imports"]
    assert after == before

    assert machine.run("wherry", "uninstall", "containerd").returncode == 0
    left = machine.run("cat", CONFIG)
    assert left.stdout == text if text is not None else left.returncode != 0
    assert machine.run("ls", "/etc/containerd/conf.d").returncode != 0


def test_doctor_knows_what_containerd_lacks(machine: Machine) -> None:
    machine.run("rm", "-rf", "/etc/containerd", "/var/lib/wherry")
    said = machine.run("wherry", "doctor").stdout
    assert "warning  containerd  wherry's shim is not on" in said
    assert "wherry install containerd" in said and "has no handler 'wherry'" in said
    assert machine.run("wherry", "install", "containerd").returncode == 0
    said = machine.run("wherry", "doctor").stdout
    lines = [line for line in said.splitlines() if line.split()[1] == "containerd"]
    assert [line.split()[0] for line in lines] == ["ok"] * len(lines), lines
    assert "the CRI unpacks images for wasi/wasm" in said
    assert machine.run("wherry", "uninstall", "containerd").returncode == 0
