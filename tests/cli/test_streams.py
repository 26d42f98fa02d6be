"""Commands that carry streams: logs, save, load, stats."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import ID, Engine
from tests.client.fake_daemon import Answer, frame


def inspected(*, tty: bool = False) -> dict[str, object]:
    return {"Id": ID, "Config": {"Tty": tty}}


def test_logs_keep_the_streams_apart(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /containers/web/json"] = inspected()
    body = [frame(1, b"out\n"), frame(2, b"err\n")[:5], frame(2, b"err\n")[5:], frame(1, b"more")]
    engine.documents[f"GET /containers/{ID}/logs"] = Answer(200, body)
    done = shell("logs", "-ft", "-n", "5", "--since", "1", "web")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\nmore", b"err\n")
    query = shell.daemon.requests[-1].query
    assert query == {
        "stdout": ["1"], "stderr": ["1"], "follow": ["1"], "timestamps": ["1"], "tail": ["5"],
        "since": ["1"],
    }  # fmt: skip


def test_logs_of_a_terminal_are_as_they_are(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /containers/web/json"] = inspected(tty=True)
    engine.documents[f"GET /containers/{ID}/logs"] = Answer(200, [b"\x01\x00raw\r\n"])
    assert shell("logs", "web").stdout == b"\x01\x00raw\r\n"


def test_a_stream_that_breaks_off_is_told(shell: Shell, engine: Engine) -> None:
    def broken_off() -> Iterator[bytes]:
        yield frame(1, b"some\n")
        raise ConnectionError("killed")

    engine.documents["GET /containers/web/json"] = inspected()
    engine.documents[f"GET /containers/{ID}/logs"] = Answer(200, broken_off())
    done = shell("logs", "-f", "web")
    assert (done.returncode, done.stdout) == (1, b"some\n")
    assert done.stderr == b"wherry: the engine went away in the middle of an answer\n"


def test_save_writes_a_whole_file_or_none(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /images/get"] = Answer(200, [b"tar" * 1000, b"end"])
    assert shell("save", "-o", "a.tar", "one", "two:2").returncode == 0
    assert (shell.folder / "a.tar").read_bytes() == b"tar" * 1000 + b"end"
    assert shell.daemon.requests[0].query == {"names": ["one", "two:2"]}
    assert shell("save", "one").stdout == b"tar" * 1000 + b"end"

    def broken_off() -> Iterator[bytes]:
        yield b"tar"
        raise ConnectionError("killed")

    engine.documents["GET /images/get"] = Answer(200, broken_off())
    assert shell("save", "-o", "b.tar", "one").returncode == 1
    assert sorted(path.name for path in shell.folder.glob("*.tar*")) == ["a.tar"]
    assert shell("save", "-o", "no/where.tar", "one").returncode == 1


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_load_sends_the_archive(shell: Shell, engine: Engine, way: str) -> None:
    engine.documents["POST /images/load"] = Answer(200, b'{"stream":"Loaded image: a:1\\n"}\n')
    data = b"x" * 1_000_000
    (shell.folder / "a.tar").write_bytes(data)
    done = shell("load", "-i", "a.tar") if way == "file" else shell("load", input=data)
    assert (done.returncode, done.stdout) == (0, b"Loaded image: a:1\n")
    assert shell.daemon.requests[0].body == data


def test_load_tells_what_is_wrong(shell: Shell, engine: Engine) -> None:
    done = shell("load", "-i", "none.tar")
    assert (done.returncode, done.stderr) == (1, b"wherry: none.tar: No such file or directory\n")
    failure = b'{"error":"sha256:00 does not match","errorDetail":{}}\n'
    engine.documents["POST /images/load"] = Answer(200, failure)
    done = shell("load", input=b"x")
    assert (done.returncode, done.stderr) == (1, b"wherry: sha256:00 does not match\n")


SAMPLE = (
    b'{"read":"2026-01-01T00:00:00Z","name":"/web","id":"%b","cpu_stats":{"cpu_usage":'
    b'{"total_usage":0}},"precpu_stats":{},"memory_stats":{"usage":1048576,"limit":2097152},'
    b'"pids_stats":{"current":%d}}\n'
)


def test_live_stats_end_with_the_last_container_they_watch(shell: Shell, engine: Engine) -> None:
    def samples() -> Iterator[bytes]:
        for count in (1, 2):
            yield SAMPLE % (ID.encode(), count)

    engine.documents["GET /containers/web/json"] = inspected()
    engine.documents["GET /containers/web/stats"] = Answer(200, samples())
    done = shell("stats", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "web")
    assert done.returncode == 0, done.stderr
    assert b"web 1MiB / 2MiB 1" in done.stdout or b"web 1MiB / 2MiB 2" in done.stdout
