"""RUN in Linux stages: its sandbox, network, mounts and secrets, and what gets into layers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.linux_builds import EPOCH, builder, folder
from tests.engine_under_test import Wherry, end, until
from tests.network.machine import FAR, INSIDE, NOBODY, Machine

pytestmark = pytest.mark.root

LONG = 100_000 + os.getpid()
"""Seconds that no step sleeps to the end; nobody else's do."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture(scope="module")
def wherry(machine: Machine) -> Iterator[Wherry]:
    with builder(machine) as wherry:
        yield wherry


def said(wherry: Wherry, dockerfile: str, *options: str, **files: str) -> str:
    """What a build says that must succeed."""
    return wherry.ok("build", "--no-cache", *options, folder(wherry, dockerfile, **files))


def built(wherry: Wherry, dockerfile: str, **files: str) -> dict[str, tarfile.TarInfo]:
    """What is in the topmost layer of what a Dockerfile makes."""
    archive = wherry.folder / "built.tar"
    context = folder(wherry, dockerfile, **files)
    wherry.ok("build", "-q", "--output", f"type=oci,dest={archive}", context)
    with tarfile.open(archive) as tar:

        def document(digest: str) -> dict:  # type: ignore[type-arg]
            member = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert member is not None
            return json.load(member)  # type: ignore[no-any-return]

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = document(json.load(index)["manifests"][0]["digest"])
        layer = tar.extractfile(f"blobs/{manifest['layers'][-1]['digest'].replace(':', '/')}")
        assert layer is not None
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as content:
            return {member.name.strip("/"): member for member in content}


def test_a_step_is_held_by_dockers_sandbox(wherry: Wherry) -> None:
    text = said(
        wherry,
        "FROM base\nRUN grep -E 'Cap(Eff|Bnd)|Seccomp:' /proc/self/status; id -u; echo $HOME $$\n"
        "RUN mount -t tmpfs x /mnt || echo no mount\nRUN ls /proc/kcore -l; hostname\n"
        "USER 5:6\nRUN id -u; grep CapEff /proc/self/status",
    )
    assert "CapEff:\t00000000a80425fb" in text
    assert "Seccomp:\t2" in text
    assert "\n0\n/root 1\n" in text
    assert "no mount" in text
    assert "\nbuild\n" in text
    assert "\n5\nCapEff:\t0000000000000000" in text


def test_what_changed_is_the_layer_and_no_mount_point_is(wherry: Wherry) -> None:
    found = built(
        wherry,
        "FROM base\nRUN mkdir /d && echo 1 >/d/gone && echo 1 >/d/old && mkdir /e && touch /e/x\n"
        "RUN --mount=type=cache,target=/new/cache --mount=type=secret,id=x,target=/s \\\n"
        "    rm /d/gone && ln /d/old /d/linked && rm -r /e && mkdir /e && touch /e/y /root-file",
    )
    names = set(found) - {"d", "e"}
    assert {"d/.wh.gone", "d/linked", "e/y", "root-file"} <= names
    assert names <= {"d/.wh.gone", "d/linked", "d/old", "e/y", "e/.wh..wh..opq", "root-file"}
    assert "e/.wh..wh..opq" in names
    assert found["d/old"].islnk() or found["d/linked"].islnk()


def test_the_network_is_what_was_asked_for(wherry: Wherry, machine: Machine) -> None:
    with machine.outside.answering(FAR, 80):
        text = said(
            wherry,
            f"FROM base\nRUN mkfifo /p; echo from $(nc {FAR} 80 0<>/p); cat /etc/resolv.conf\n"
            f"RUN --network=none ip address; ! nc {FAR} 80",
        )
    assert f"from {INSIDE}\nnameserver 127.0.0.11" in text
    assert "Network is unreachable" in text
    assert "127.0.0.11" not in said(wherry, "FROM base\nRUN cat /etc/resolv.conf", "--network=host")
    text = said(wherry, f"FROM base\nRUN ! nc {FAR} 80", "--network", "none")
    assert "Network is unreachable" in text
    error = wherry.refused("build", folder(wherry, "FROM base\nRUN --network=host true"), code=1)
    assert "wherry build --network host" in error


def test_a_cache_outlives_builds_and_is_pruned(wherry: Wherry) -> None:
    dockerfile = (
        "FROM base\nRUN --mount=type=cache,id=ours,target=/c,mode=0750,uid=7 \\\n"
        "    echo more >>/c/f && wc -l /c/f && stat -c %a:%u /c"
    )
    assert "1 /c/f\n750:7" in said(wherry, dockerfile)
    assert "2 /c/f\n750:7" in said(wherry, dockerfile)
    text = said(
        wherry, "FROM base\nRUN --mount=type=cache,id=ours,target=/x,ro ls /x; ! touch /x/y"
    )
    assert "Read-only file system" in text
    wherry.ok("builder", "prune", "--force", "--all")
    assert "1 /c/f" in said(wherry, dockerfile)


def test_files_are_bound_from_the_context_and_from_stages(wherry: Wherry) -> None:
    text = said(
        wherry,
        "FROM base AS other\nRUN mkdir -p /data/deep && echo other >/data/deep/f\n"
        "FROM base\nARG WHERE=/src\n"
        "RUN --mount=target=$WHERE cat /src/sub/file; ! touch /src/x\n"
        "RUN --mount=target=/src,rw touch /src/sub/made && ls /src/sub\n"
        "RUN --mount=target=/src ls /src/sub\n"
        "RUN --mount=type=bind,from=other,source=/data,target=/o,rw cat /o/deep/f; touch /o/z\n"
        "RUN --mount=from=other,source=data/deep/f,target=/f cat /f && ls -d /o || true",
        sub__file="context\n",
    )
    assert "context\ntouch: /src/x: Read-only file system" in text
    assert "file\nmade" in text
    assert "ls /src/sub\nfile\n[" in text
    assert text.count("\nother\n") == 2
    assert "ls: /o: No such file or directory" in text


def test_no_name_in_a_stage_leads_out_of_it(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    beside = tmp_path / "upper"
    beside.mkdir()
    text = said(
        wherry,
        f"FROM base AS other\nRUN mkdir -p '/:{tmp_path}' '/x,upperdir={beside}/work' && \\\n"
        f"    echo inside | tee '/:{tmp_path}/f' '/x,upperdir={beside}/work/f'\nFROM base\n"
        f"RUN --mount=from=other,source=/:{tmp_path},target=/o,rw cat /o/*; touch /o/made\n"
        f'RUN --mount=from=other,"source=/x,upperdir={beside}/work",target=/o,rw cat /o/f\n',
    )
    assert "of the host" not in text
    assert text.count("\ninside\n") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "upper"]
    assert list(beside.iterdir()) == []


def test_what_is_bound_decides_whether_a_step_is_cached(wherry: Wherry) -> None:
    dockerfile = "FROM base\nRUN --mount=target=/c,source=one cat /c"
    first = wherry.ok("build", folder(wherry, dockerfile, one="first", two="x"))
    assert "first" in first
    assert "CACHED" in wherry.ok("build", folder(wherry, dockerfile, one="first", two="y")).upper()
    assert "second" in wherry.ok("build", folder(wherry, dockerfile, one="second", two="y"))


def test_a_secret_is_nowhere_afterwards(wherry: Wherry, tmp_path: Path) -> None:
    secret = "k33p-it-to-y0urself"
    source = wherry.folder / "secret"
    source.write_text(secret)
    dockerfile = (
        "FROM base\nRUN --mount=type=secret,id=token,required,mode=0440,uid=5 \\\n"
        "    --mount=type=secret,id=token,env=TOKEN,target=/else \\\n"
        "    ls -ln /run/secrets/token; wc -c /else; echo ${#TOKEN}; mount | grep -c secret"
    )
    text = said(wherry, dockerfile, "--secret", f"id=token,src={source}", "-t", "kept")
    assert f"-r--r-----    1 5        0               {len(secret)}" in text
    assert f"{len(secret)} /else\n{len(secret)}\n" in text
    source.unlink()
    wherry.ok("save", "-o", tmp_path / "kept.tar", "kept")
    with tarfile.open(tmp_path / "kept.tar") as tar:
        assert not [name for name in tar.getnames() if "secret" in name]
    searched = ["grep", "-rlF", secret, str(wherry.root), str(wherry.run_dir), str(tmp_path)]
    assert subprocess.run(searched, capture_output=True, text=True).stdout == ""
    context = folder(wherry, dockerfile)
    assert "id=token,src=FILE" in wherry.refused("build", "--no-cache", context, code=1)
    # What it holds decides nothing: an earlier result stands.
    variable = {"TOKEN": "another"}
    again = wherry.ok("build", "--secret", "id=token,env=TOKEN", context, env=variable)
    assert "cached" in again.lower()


def test_scripts_run_by_what_they_name(wherry: Wherry) -> None:
    text = said(
        wherry,
        "FROM base\nRUN <<A cat - <<B\necho one\nA\ntwo\nB\n"
        'RUN <<-"EOT"\n\t#!/bin/busybox sh\n\techo "$0" three\n\tEOT\n'
        "RUN <<EOT\nfour=4\necho $four\nEOT\n",
    )
    assert "two" in text
    assert "/dev/pipes/EOT three" in text
    assert "\n4\n" in text


def test_the_exit_code_is_told(wherry: Wherry) -> None:
    error = wherry.refused("build", folder(wherry, 'FROM base\nRUN echo "x" && exit 7'), code=1)
    assert error.strip() == (
        r'wherry: Dockerfile:2: process "/bin/sh -c echo \"x\" && exit 7" did not complete '
        "successfully: exit code: 7"
    )
    error = wherry.refused("build", folder(wherry, 'FROM base\nRUN ["/nothing"]'), code=1)
    assert "Dockerfile:2" in error
    assert "/nothing" in error
    linux = "FROM --platform=linux/s390x scratch\nCOPY Dockerfile /\nRUN true"
    wherry.refused("build", folder(wherry, linux), code=1)


def _steps() -> list[int]:
    """The processes of steps that sleep for long."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes() == f"sleep\0{LONG}\0".encode():
                    found.append(int(entry.name))
    return found


TWO_AT_ONCE = f"""\
FROM base AS one
RUN --mount=type=cache,id=meeting,target=/m touch /m/one && exec sleep {LONG}
FROM base AS two
RUN --mount=type=cache,id=meeting,target=/m \\
    until [ -e /m/one ]; do sleep 0.1; done; rm /m/one; THEN
FROM base
COPY --from=one /x /
COPY --from=two /y /
"""


def test_stages_run_at_once_and_one_that_fails_ends_the_other(wherry: Wherry) -> None:
    done = wherry("build", folder(wherry, TWO_AT_ONCE.replace("THEN", "echo enough; exit 9")))
    assert _steps() == []
    assert done.code == 1
    assert "enough\n" in done.out
    assert "Dockerfile:4: " in done.err
    assert _leftovers(wherry) == []


def test_a_build_that_is_given_up_leaves_nothing_running(wherry: Wherry) -> None:
    context = folder(wherry, TWO_AT_ONCE.replace("THEN", f"exec sleep {LONG}"))
    with wherry.background("build", context) as building:
        until(lambda: len(_steps()) == 2, "the steps do not run")
        building.send_signal(signal.SIGINT)
        building.wait(60)
    until(lambda: not _steps(), "the step runs on")
    until(lambda: not _leftovers(wherry), f"there is still {_leftovers(wherry)}")


def test_a_killed_engine_leaves_nothing_running(wherry: Wherry) -> None:
    context = folder(wherry, TWO_AT_ONCE.replace("THEN", f"exec sleep {LONG}"))
    with wherry.background("build", context):
        until(lambda: len(_steps()) == 2, "the steps do not run")
        wherry.kill_daemon()
        wherry.ok("ps")
        until(lambda: not _steps(), "the step runs on")
    assert _leftovers(wherry) == []
    assert "CapEff" in said(wherry, "FROM base\nRUN grep CapEff /proc/self/status")


def _leftovers(wherry: Wherry) -> list[Path]:
    places = (wherry.root / "build" / "steps", wherry.run_dir / "build" / "steps")
    return [path for place in places if place.is_dir() for path in place.iterdir()]


def test_an_ordinary_user_builds_too(machine: Machine) -> None:
    # Its half of a connection stays open: the way out of an ordinary user may end it all otherwise.
    with builder(machine, NOBODY) as wherry, machine.outside.answering(FAR, 80):
        text = said(
            wherry,
            f"FROM base\nRUN mkfifo /p && echo from $(nc {FAR} 80 0<>/p); id -u\n"
            "RUN --mount=type=cache,target=/c --mount=target=/src touch /c/x /made; ls /src",
        )
        assert f"from {INSIDE}\n0\n" in text
        assert "Dockerfile" in text
        done = wherry("build", folder(wherry, "FROM base\nRUN chown 3:4 /bin/busybox"))
        assert done.code == 1
        assert "/etc/subuid" in done.out


OWNERS = """\
FROM base AS owned
RUN chown 3:4 /bin/busybox && mkdir -m 2750 /d && touch /d/f && chown -R 5:6 /d && mkdir -m 1777 /t
COPY --chown=7:8 f /f
RUN --mount=type=cache,target=/c,uid=11,gid=12 --mount=type=secret,id=s,uid=13,target=/s \\
    stat -c %u:%g /c /s; chown 14:15 /f && rm /d/f && touch /c/x && chown 65535 /c/x
USER 16:17
RUN id -u; touch /t/mine; ! cat /d/f
FROM base
COPY --from=owned / /
RUN stat -c %u:%g:%a /f /t/mine /d /bin/busybox
"""


def test_an_ordinary_user_with_a_range_of_ids_builds_what_root_does(
    wherry: Wherry, machine: Machine, tmp_path: Path
) -> None:
    ids = tmp_path / "ids"
    ids.write_text("nobody:200000:65536\n")
    environment = {**EPOCH, "S": "secret"}
    args = ("build", "--network=none", "--secret", "id=s,env=S", "-t", "owned", "-o")
    digests = []
    with builder(machine, NOBODY, ids=ids) as other:
        for each in (wherry, other):
            archive = each.folder / "owned.tar"
            context = folder(each, OWNERS, f="f")
            text = each.ok(*args, f"type=oci,dest={archive}", context, env=environment)
            assert "11:12\n13:0\n" in text and "\n16\n" in text
            assert "14:15:644\n16:17:644\n5:6:2750\n3:4:755\n" in text
            with tarfile.open(archive) as tar:
                index = tar.extractfile("index.json")
                assert index is not None
                digests.append(json.load(index)["manifests"][0]["digest"])
        other.ok("system", "check")
    assert digests[0] == digests[1]


def test_nothing_runs_on_when_the_shim_was_killed_too(wherry: Wherry) -> None:
    context = folder(wherry, f"FROM base\nRUN exec sleep {LONG}")
    with wherry.background("build", context) as building:
        until(_steps, "the step does not run")
        (shim,) = _shims(wherry)
        end(shim, signal.SIGKILL)
        assert b"shim that ran the step died" in building.communicate(timeout=60)[1]
        assert building.returncode == 1
    until(lambda: not _steps(), "the step runs on")
    assert _leftovers(wherry) == []


def test_a_step_keeps_its_network_when_the_helper_was_killed(wherry: Wherry) -> None:
    with wherry.background(
        "build", folder(wherry, f"FROM base\nRUN exec sleep {LONG}")
    ) as building:
        until(_steps, "the step does not run")
        until(lambda: _resolves(*_steps()), "no names are served")
        (helper,) = _helpers(wherry)
        end(helper, signal.SIGKILL)
        until(lambda: _resolves(*_steps()), "names are not served again")
        assert _helpers(wherry) != [helper]
        building.send_signal(signal.SIGINT)
        building.wait(30)
    until(lambda: not _steps(), "the step runs on")


def _resolves(pid: int) -> bool:
    """Whether a name server listens in the network of a process, where nobody else does."""
    return len(Path(f"/proc/{pid}/net/udp").read_text().splitlines()) > 1


def _helpers(wherry: Wherry) -> list[int]:
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in wherry.processes()}
    return [pid for pid, words in names.items() if b"wherry.network.server" in words]


def _shims(wherry: Wherry) -> list[int]:
    """The shim, without its zygote and what that has forked."""
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in wherry.processes()}
    return [pid for pid, words in names.items() if b"containerd-shim-wherry" in words]


def test_an_image_of_as_many_layers_as_docker_takes_is_built_and_runs(wherry: Wherry) -> None:
    copies = "".join(f"COPY <<E /{number}\n<{number}>\nE\n" for number in range(124))
    dockerfile = f"FROM base\n{copies}"
    assert "<0>\n<123>\n" in said(wherry, f"{dockerfile}RUN cat /0 /123")
    wherry.ok("build", "-q", "-t", "tall", "-", input=dockerfile)
    assert wherry.ok("run", "--rm", "tall", "cat", "/0", "/123") == "<0>\n<123>"
    taller = f"{dockerfile}COPY <<E /124\nE\n"
    assert "128 layers, at most 127" in wherry("build", "-", input=taller).err
