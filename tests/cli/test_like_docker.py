"""Against a real dockerd: the same output and the same exit codes as the docker command."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.conftest import COMMAND
from tests.conftest import busybox
from tests.peers import Dockerd

pytestmark = pytest.mark.dockerd

IMAGE = "wherry-test-busybox"
TOOLS = ("sh", "cat", "echo", "false", "seq", "sleep", "stty", "true")


@dataclass
class Pair:
    """The two commands, side by side."""

    dockerd: Dockerd
    folder: Path

    def wherry(self, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = {
            **os.environ, "WHERRY_HOST": self.dockerd.host, "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        return subprocess.run(
            [*COMMAND, *words], input=input, capture_output=True, env=environment, cwd=self.folder
        )

    def docker(self, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.dockerd.argv(*words), input=input, capture_output=True, cwd=self.folder
        )

    def ok(self, *words: str, input: bytes = b"") -> str:
        done = self.wherry(*words, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().removesuffix("\n")


@pytest.fixture(scope="module")
def pair(dockerd: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as archive:
        archive.add(busybox(), "bin/busybox")
        for tool in TOOLS:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for name in ("tmp", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
    pair = Pair(dockerd, tmp_path_factory.mktemp("like-docker"))
    made = pair.docker("import", "-", IMAGE, input=root.getvalue())
    assert made.returncode == 0, made.stderr
    pair.docker("image", "prune", "-f")  # what other tests have left would be one's alone
    pair.ok("run", "-d", "--name", "up", "-l", "a=b", "-v", "data:/d", IMAGE, "sleep", "1000")
    pair.wherry("run", "--name", "down", "-e", "X=<&>", IMAGE, "sh", "-c", "seq 9; exit 3")
    pair.ok("logs", "-f", "down")
    yield pair
    pair.ok("rm", "-f", "up", "down")


SAME = [
    "ps --format {{.ID}}", "ps -a --format {{.Names}}\\t{{.Image}}\\t{{.Command}}\\t{{.State}}",
    "ps -aq", "ps -q --no-trunc", "ps -a --format table\\ {{.Names}}\\t{{.Mounts}}\\t{{.Labels}}",
    "ps -a --format {{.Label\\ \\\"a\\\"}}|{{.LocalVolumes}}|{{.Networks}}|{{upper\\ .Names}}",
    "ps -a --filter status=exited --format {{.Names}}", "ps -n 1 -q", "ps -lq",
    "images -q", "images --no-trunc -q", "images --format {{.Repository}}:{{.Tag}}",
    "images --digests --format table\\ {{.Repository}}\\t{{.Digest}}\\t{{.Size}}", "images nosuch",
    "history -q IMAGE", "history --no-trunc --human=false IMAGE",
    "inspect up", "inspect down IMAGE data", "inspect -s down", "inspect nosuch",
    "inspect nosuch up",
    "inspect --type image IMAGE", "inspect --type volume data", "image inspect IMAGE",
    "container inspect down", "volume inspect data",
    "inspect -f {{.State.Status}}|{{.Name}}|{{json\\ .Config}} up down",
    "inspect -f {{range\\ .Mounts}}{{.Name}}:{{.RW}}{{end}}|{{len\\ .Config.Env}} up",
    "inspect -f {{index\\ .Config.Labels\\ \\\"a\\\"}}{{if\\ .State.Running}}yes{{end}} up",
    "inspect -f {{index\\ .Config.Labels\\ \\\"none\\\"}} up",
    "inspect -f {{.Id up", "inspect --format json down",
    "volume ls", "volume ls -q", "volume ls --filter dangling=true", "volume rm data",
    "logs down", "logs --tail 3 down", "logs -n 0 down", "logs -t down", "logs nosuch",
    "logs --since 1h --until 2001-01-01T00:00:00Z down",
    "top nosuch", "wait down", "wait nosuch", "stop nosuch", "kill down", "kill nosuch",
    "rm up", "rm nosuch", "rmi nosuch", "rename nosuch other", "tag nosuch other", "start nosuch",
    "attach down", "pause down", "unpause up", "cp nosuch:/x .", "cp up:/nosuch .",
    "system df", "run IMAGE nosuch", "run IMAGE /tmp", "run --no-such-flag", "run nosuch/image",
    "run --name up IMAGE true", "create --name up IMAGE true", "run --rm IMAGE sh -c exit\\ 7",
    "run --rm IMAGE sh -c kill\\ -9\\ $$", "run --rm -e A=b -e PATH IMAGE sh -c echo\\ $A",
    "run --rm --entrypoint echo IMAGE hello there", "run --rm -w /tmp IMAGE sh -c pwd",
    "run --rm --read-only IMAGE sh -c echo\\ >/x", "run --rm -t IMAGE echo tty",
    "run --rm -v data:/d:ro IMAGE sh -c echo\\ >/d/x",
    "run --rm --tmpfs /t IMAGE sh -c echo\\ ok>/t/x",
    "run --rm --mount type=tmpfs,target=/t IMAGE sh -c echo\\ ok>/t/x",
    "run --rm -a stderr IMAGE sh -c echo\\ out;echo\\ err>&2",
    "run --rm -h me IMAGE sh -c hostname",
    "run --rm --ulimit nofile=77:99 IMAGE sh -c ulimit\\ -n", "run --rm -u 7:8 IMAGE sh -c id",
    "exec up echo hello there", "exec up sh -c exit\\ 7", "exec up nosuch", "exec up /tmp",
    "exec nosuch true", "exec down true", "exec -w /tmp -e A=b up sh -c pwd;echo\\ $A",
    "exec -t up sh -c test\\ -t\\ 1&&echo\\ tty", "exec -d up true", "exec up",
    "exec -u 7:8 up true",
    "exec up sh -c echo\\ out;echo\\ err>&2;kill\\ -9\\ $$", "container exec up echo hello",
    "exec -i up cat", "exec -it up true", "exec --privileged up echo yes",
    "run --rm --health-cmd true --health-retries -1 IMAGE true",
    "run --rm --no-healthcheck --health-cmd true IMAGE true",
    "info -f {{.ServerVersion}}|{{.NCPU}}", "version -f {{.Server.Version}}",
    "container prune -f --filter until=100h", "image prune -f", "nosuchcommand", "ps nosuch",
]  # fmt: skip


@pytest.mark.parametrize("line", SAME)
def test_same_output_and_exit_code(pair: Pair, line: str) -> None:
    import shlex

    words = [word.replace("IMAGE", IMAGE) for word in shlex.split(line.replace("\\t", "\\\\t"))]
    ours, theirs = pair.wherry(*words), pair.docker(*words)
    assert ours.stdout == theirs.stdout, ours.stderr
    assert ours.returncode == theirs.returncode, (ours.stderr, theirs.stderr)
    assert b"Traceback" not in ours.stderr
    assert bool(ours.stderr) == bool(theirs.stderr)


def test_tables_are_the_same_to_the_byte(pair: Pair) -> None:
    for words in (["ps", "-a"], ["ps", "-as"], ["images"], ["images", "--digests"]):
        # "5 seconds ago" may change between the two: one of a few attempts shows the same second.
        attempts = ((pair.wherry(*words), pair.docker(*words)) for _ in range(5))
        assert any(ours.stdout == theirs.stdout for ours, theirs in attempts), words


def test_input_is_carried_byte_for_byte(pair: Pair) -> None:
    data = os.urandom(3_000_000)
    done = pair.wherry("run", "-i", "--rm", IMAGE, "cat", input=data)
    assert done.stdout == data
    done = pair.wherry("exec", "-i", "up", "cat", input=data)
    assert done.stdout == data


def test_health_checks_are_what_docker_takes(pair: Pair) -> None:
    flags = (
        "--health-cmd", "exit 0", "--health-interval", "1m30s", "--health-timeout", "2.5s",
        "--health-start-period", "1h", "--health-retries", "4",
    )  # fmt: skip
    made = []
    for command in (pair.wherry, pair.docker):
        done = command("create", *flags, IMAGE, "true")
        assert done.returncode == 0, done.stderr
        name = done.stdout.decode().strip()
        made.append(pair.ok("inspect", "-f", "{{json .Config.Healthcheck}}", name))
        pair.ok("rm", name)
    assert made[0] == made[1]
    words = pair.ok("create", "--health-cmd", '["/bin/true", "now"]', IMAGE, "true")
    assert pair.ok("inspect", "-f", "{{json .Config.Healthcheck.Test}}", words) == (
        '["CMD","/bin/true","now"]'
    )
    pair.ok("rm", words)


def test_events_are_the_same(pair: Pair) -> None:
    words = ("events", "--since", "10m", "--until", "1s", "--filter", "container=down")
    for layout in ((), ("--format", "json"), ("--format", "{{.Type}} {{.Action}} {{.Actor.ID}}")):
        ours, theirs = pair.wherry(*words, *layout), pair.docker(*words, *layout)
        assert ours.stdout.splitlines() == theirs.stdout.splitlines()
        assert ours.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src" / "sub").mkdir(parents=True)
    (tmp_path / "src" / "file").write_text("one")
    (tmp_path / "src" / "sub" / "deep").write_text("two")
    (tmp_path / "src" / "link").symlink_to("file")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("src", "/tmp"), ("src", "/tmp/new"), ("src/.", "/tmp"), ("src/.", "/tmp/new"),
        ("src/", "/tmp"), ("src/file", "/tmp"), ("src/file", "/tmp/renamed"),
        ("src/file", "/tmp/no/where"), ("src/file", "/tmp/no/"), ("src", "/etc/passwd"),
        ("src/link", "/tmp/link"), ("src/none", "/tmp"), ("src/file/", "/tmp"),
    ],
)  # fmt: skip
def test_cp_puts_things_where_docker_puts_them(
    pair: Pair, tree: Path, source: str, target: str
) -> None:
    found: list[tuple[object, ...]] = []
    for command in (pair.wherry, pair.docker):
        pair.ok("create", "--name", "copied", IMAGE, "true")
        try:
            done = command("cp", f"{tree}/{source}", f"copied:{target}")
            archive = subprocess.run(pair.dockerd.argv("export", "copied"), capture_output=True)
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
                files = sorted(
                    (m.name, m.type, m.size, m.linkname, oct(m.mode))
                    for m in tar
                    if m.name.startswith(("tmp", "etc"))
                )
            found.append((done.returncode, files))
        finally:
            pair.ok("rm", "copied")
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("/tmp/src", "here"), ("/tmp/src", "new"), ("/tmp/src/.", "here"), ("/tmp/src/.", "new"),
        ("/tmp/src/file", "here"), ("/tmp/src/file", "new"), ("/tmp/src/file", "no/where"),
        ("/tmp/src/file", "new/"), ("/tmp/src", "here/taken"), ("/tmp/src/file", "here/taken"),
        ("/tmp/src/link", "new"), ("/tmp/none", "here"), ("/tmp/src/file", "here/."),
    ],
)  # fmt: skip
def test_cp_brings_things_where_docker_brings_them(
    pair: Pair, tree: Path, source: str, target: str
) -> None:
    pair.ok("create", "--name", "copied", IMAGE, "true")
    found: list[tuple[object, ...]] = []
    try:
        pair.ok("cp", f"{tree}/src", "copied:/tmp")
        for number, command in enumerate((pair.wherry, pair.docker)):
            place = tree / str(number)
            (place / "here").mkdir(parents=True)
            (place / "here" / "taken").write_text("taken")
            done = command("cp", f"copied:{source}", f"{place}/{target}")
            files = sorted(
                (str(path.relative_to(place)), path.is_symlink(), oct(path.lstat().st_mode),
                 path.read_bytes() if path.is_file() else b"")
                for path in place.rglob("*")
            )  # fmt: skip
            found.append((done.returncode, files))
    finally:
        pair.ok("rm", "copied")
    assert found[0] == found[1]


def test_tar_streams(pair: Pair, tree: Path) -> None:
    pair.ok("create", "--name", "copied", IMAGE, "true")
    try:
        pair.ok("cp", f"{tree}/src", "copied:/tmp")
        out = pair.wherry("cp", "copied:/tmp/src", "-").stdout
        assert out == pair.docker("cp", "copied:/tmp/src", "-").stdout
        pair.ok("cp", "-", "copied:/etc", input=out)
        assert pair.wherry("cp", "copied:/etc/src/sub/deep", "-").returncode == 0
    finally:
        pair.ok("rm", "copied")


IGNORE = "# notes\n*.md\n!keep.md\nsub/*\n!sub/deep\n**/*.tmp\n/build\n"


def test_a_context_is_the_one_docker_sends(pair: Pair, tmp_path: Path) -> None:
    context = tmp_path / "context"
    for name in (
        "a.md", "keep.md", "x.tmp", "sub/x", "sub/deep/y", "sub/deep/y.tmp", "build/z", "c/build/z",
    ):  # fmt: skip
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(name)
    (context / "link").symlink_to("keep.md")
    (context / ".dockerignore").write_text(IGNORE)
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY . /all\n")
    images = [pair.ok("build", "-q", "--no-cache", str(context))]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    command = pair.dockerd.argv("build", "-q", "--no-cache", str(context))
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    images.append(done.stdout.strip())
    trees = []
    for image in images:
        container = pair.ok("create", image, "true")
        out = pair.wherry("cp", f"{container}:/all", "-").stdout
        pair.ok("rm", container)
        with tarfile.open(fileobj=io.BytesIO(out)) as tar:
            trees.append([(m.name, m.type, m.size, oct(m.mode), m.uid, m.linkname) for m in tar])
    assert trees[0] == trees[1]
    assert "all/sub/deep/y" in [name for name, *_ in trees[0]]


def test_a_failing_build_is_told(pair: Pair) -> None:
    done = pair.wherry("build", "-", input=f"FROM {IMAGE}\nRUN false\n".encode())
    assert done.returncode == 1
    assert b"returned a non-zero code: 1" in done.stderr


def test_archives_go_both_ways(pair: Pair, tmp_path: Path) -> None:
    pair.ok("save", "-o", str(tmp_path / "image.tar"), IMAGE)
    assert pair.docker("save", IMAGE).stdout == (tmp_path / "image.tar").read_bytes()
    assert pair.ok("load", "-i", str(tmp_path / "image.tar")) == f"Loaded image: {IMAGE}:latest"
