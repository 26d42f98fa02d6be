"""What lists show, from what the engine answers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.cli.engine import Engine
from tests.client.fake_daemon import FakeDaemon

from wherry.cli.main import run

CONTAINER: dict[str, Any] = {
    "Id": "0123456789abcdef" * 4, "Names": ["/web", "/other/alias"], "Image": "hello:latest",
    "ImageID": "sha256:" + "f" * 64, "Command": "/hello.wasm serve --port 8080",
    "Created": 0, "State": "running", "Status": "Up 2 hours", "Labels": {"b": "2", "a": "1"},
    "Ports": [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 53, "Type": "udp"},
    ],
    "Mounts": [
        {"Name": "data", "Source": "/x", "Driver": "local"}, {"Source": "/a/long/source/path"},
    ],
    "NetworkSettings": {"Networks": {"bridge": {}}}, "SizeRw": 1500, "SizeRootFs": 2_000_000,
}  # fmt: skip


@pytest.fixture
def show(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process; what it prints and what it asked."""
    engine = Engine()
    daemon = FakeDaemon(tmp_path, engine)
    monkeypatch.setenv("WHERRY_HOST", daemon.host)

    def call(documents: dict[str, Any], *words: str) -> tuple[str, list[Any]]:
        engine.documents = documents
        daemon.requests.clear()
        assert run(list(words)) == 0
        return capsys.readouterr().out, list(daemon.requests)

    with daemon:
        yield call


def ps(show: Any, *words: str) -> str:
    CONTAINER["Created"] = int(time.time()) - 7200
    out, _ = show({"GET /containers/json": [CONTAINER]}, "ps", *words)
    assert isinstance(out, str)
    return out


def test_ps(show: Any) -> None:
    header, row = ps(show).splitlines()
    assert header.split("  ")[0] == "CONTAINER ID"
    cells = ["0123456789ab", "hello:latest", '"/hello.wasm serve -…"', "2 hours ago", "Up 2 hours",
             "53/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp", "web"]  # fmt: skip
    titles = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert row == "   ".join(cells)
    for cell, title in zip(cells, titles, strict=True):
        assert header.index(title) == row.index(cell)


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("{{.ID}} {{.Names}}", "0123456789ab web"),
        ('{{.Label "a"}}{{.Label "none"}}', "1"),
        ("{{.Labels}}", "a=1,b=2"),
        ("{{.Mounts}} {{.LocalVolumes}}", "data,/a/long/source… 1"),
        ("{{.Size}}", "1.5kB (virtual 2MB)"),
        ("{{.Networks}} {{.State}}", "bridge running"),
        ("{{.Names}}\\t{{.Image}}", "web\thello:latest"),
        ("table {{.Names}}\\t{{.State}}", "NAMES     STATE\nweb       running"),
        ("table {{upper .Names}}", "NAMES\nWEB"),
        ("{{json .Names}}", '"web"'),
    ],
)
def test_ps_by_template(show: Any, layout: str, text: str) -> None:
    assert ps(show, "--format", layout) == f"{text}\n"


def test_ps_whole(show: Any) -> None:
    out = ps(show, "--no-trunc", "--format", "{{.ID}}|{{.Names}}|{{.Command}}")
    assert out == f'{CONTAINER["Id"]}|web,other/alias|"{CONTAINER["Command"]}"\n'
    assert ps(show, "-q") == "0123456789ab\n"
    assert ps(show, "-q", "--no-trunc") == f"{CONTAINER['Id']}\n"


def test_ps_as_json(show: Any) -> None:
    document = json.loads(ps(show, "--format", "json"))
    assert document["Names"] == "web"
    assert sorted(document) == list(document)
    assert "Label" not in document
    assert json.loads(ps(show, "--format", "{{json .}}")) == document


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ([], {}),
        (["-a"], {"all": ["1"]}),
        (["-l"], {"all": ["1"], "limit": ["1"]}),
        (["-n", "3"], {"all": ["1"], "limit": ["3"]}),
        (["-s"], {"size": ["1"]}),
        (["--format", "{{.Size}}"], {"size": ["1"]}),
        (["-f", "status=exited", "--filter", "label=a=b", "-f", "status=dead"],
         {"filters": ['{"status":["exited","dead"],"label":["a=b"]}']}),
    ],
)  # fmt: skip
def test_ps_asks_for_what_is_wanted(show: Any, words: list[str], query: dict[str, Any]) -> None:
    _, (request,) = show({"GET /containers/json": []}, "ps", *words)
    assert request.query == query


def test_names_for_one_thing(show: Any) -> None:
    documents = {"GET /containers/json": [CONTAINER], "GET /images/json": []}
    plain, _ = show(documents, "ps")
    for words in (["container", "ls"], ["container", "list"], ["container", "ps"]):
        assert show(documents, *words)[0] == plain
    assert show(documents, "images")[0] == show(documents, "image", "ls")[0]


IMAGE = {
    "Id": "sha256:" + "ab" * 32, "Created": 0, "Size": 1_982_464, "Containers": -1,
    "SharedSize": -1, "RepoTags": ["hello:latest", "localhost:5000/hello:v1"],
    "RepoDigests": ["hello@sha256:" + "cd" * 32],
}  # fmt: skip


def test_images_have_a_line_for_each_name(show: Any) -> None:
    nameless = {**IMAGE, "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}
    documents = {"GET /images/json": [IMAGE, nameless, {**IMAGE, "RepoTags": None}]}
    out, _ = show(documents, "images", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}")
    assert out.splitlines() == [
        "hello latest abababababab 1.98MB",
        "localhost:5000/hello v1 abababababab 1.98MB",
        "<none> <none> abababababab 1.98MB",
        "hello <none> abababababab 1.98MB",
    ]
    out, _ = show(documents, "images", "--format", "{{.CreatedSince}}")
    assert set(out.split()) == {"N/A"}
    out, _ = show(documents, "images", "--digests", "-q", "--no-trunc")
    assert set(out.split()) == {IMAGE["Id"]}
    _, (request,) = show(documents, "images", "hello", "--filter", "dangling=true")
    assert json.loads(request.query["filters"][0]) == {"dangling": ["true"], "reference": ["hello"]}


def test_prune_asks_first(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    pruned = {"ContainersDeleted": ["a", "b"], "SpaceReclaimed": 1500}
    documents = {"POST /containers/prune": pruned}
    for answer, asked in (("n\n", 0), ("", 0), ("y\n", 1), ("YES\n", 1)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        out, requests = show(documents, "container", "prune")
        assert out.startswith("WARNING! This will remove all stopped containers.\nAre you sure")
        assert len(requests) == asked
    out, _ = show(documents, "container", "prune", "-f")
    assert out == "Deleted Containers:\na\nb\n\nTotal reclaimed space: 1.5kB\n"


def test_system_prune_prunes_what_was_asked_for(show: Any) -> None:
    documents = {
        "POST /containers/prune": {"ContainersDeleted": None, "SpaceReclaimed": 1},
        "POST /networks/prune": {"NetworksDeleted": ["net"]},
        "POST /images/prune": {"ImagesDeleted": [{"Deleted": "sha256:x"}], "SpaceReclaimed": 2},
        "POST /volumes/prune": {"VolumesDeleted": ["v"], "SpaceReclaimed": 3},
        "POST /build/prune": {"CachesDeleted": [], "SpaceReclaimed": 4},
    }
    out, requests = show(documents, "system", "prune", "-f")
    networks = "Deleted Networks:\nnet\n\n"
    images = "Deleted Images:\ndeleted: sha256:x\n\n"
    assert out == f"{networks}{images}Total reclaimed space: 7B\n"
    assert "/volumes/prune" not in [request.path for request in requests]
    out, requests = show(documents, "system", "prune", "-af", "--volumes")
    assert out.endswith("Total reclaimed space: 10B\n")
    (asked,) = [request for request in requests if request.path == "/images/prune"]
    assert json.loads(asked.query["filters"][0]) == {"dangling": ["false"]}


def test_inspect_prints_the_engines_own_spelling(show: Any) -> None:
    from tests.client.fake_daemon import Answer

    raw = b'{"Id":"x","Args":[],"Label":"\\u003ca\\u003e","N":1.50}\n'
    documents = {"GET /containers/web/json": Answer(200, raw)}
    out, _ = show(documents, "inspect", "web")
    assert out == (
        '[\n    {\n        "Id": "x",\n        "Args": [],\n'
        '        "Label": "\\u003ca\\u003e",\n        "N": 1.50\n    }\n]\n'
    )
    assert show(documents, "inspect", "-f", "{{.Label}} {{.N}}", "web")[0] == "<a> 1.5\n"


def test_inspect_looks_for_containers_images_and_volumes(show: Any) -> None:
    documents = {"GET /volumes/v": {"Name": "v"}, "GET /images/far/away:1/json": {"Id": "i"}}
    assert json.loads(show(documents, "inspect", "v", "far/away:1")[0]) == [
        {"Name": "v"},
        {"Id": "i"},
    ]


def test_stats_are_computed_from_two_readings(show: Any) -> None:
    sample = {
        "read": "2026-01-01T00:00:00Z", "name": "/web", "id": CONTAINER["Id"],
        "cpu_stats": {"cpu_usage": {"total_usage": 3_000}, "system_cpu_usage": 20_000,
                      "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 10_000},
        "memory_stats": {"usage": 3 << 20, "limit": 4 << 20, "stats": {"inactive_file": 1 << 20}},
        "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 2000}},
        "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 5},
                                                       {"op": "Write", "value": 7}]},
        "pids_stats": {"current": 3},
    }  # fmt: skip
    documents = {"GET /containers/web/json": CONTAINER, "GET /containers/web/stats": sample}
    out, _ = show(documents, "stats", "--no-stream", "web")
    assert out.splitlines()[1].split() == [
        "0123456789ab", "web", "40.00%", "2MiB", "/", "4MiB", "50.00%", "1kB", "/", "2kB",
        "5B", "/", "7B", "3",
    ]  # fmt: skip


def test_disk_usage(show: Any) -> None:
    usage = {
        "LayersSize": 1000, "Images": [{**IMAGE, "Size": 600, "Containers": 1, "SharedSize": 0}],
        "Containers": [{**CONTAINER, "SizeRw": 10}, {**CONTAINER, "State": "exited", "SizeRw": 30}],
        "Volumes": [{"Name": "v", "UsageData": {"RefCount": 0, "Size": 50}}],
        "BuildCache": [{"ID": "c", "Size": 7, "InUse": False, "Shared": False}],
    }  # fmt: skip
    out, _ = show({"GET /system/df": usage}, "system", "df")
    assert out == (
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
        "Images          1         1         1kB       400B (40%)\n"
        "Containers      2         1         40B       30B (75%)\n"
        "Local Volumes   1         0         50B       50B (100%)\n"
        "Build Cache     1         0         7B        7B\n"
    )


def test_disk_usage_as_the_engine_itself_sums_it_up(show: Any) -> None:
    fields = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
    kinds = [
        ("Images", 2, 1, 4096, 1024), ("Build Cache", 1, 0, 9000, 9000),
        ("Compiled Code", 3, 2, 8192, 0), ("Engine", 1, 1, 5, 0),
    ]  # fmt: skip
    usage = {"Disk": [dict(zip(fields, kind, strict=True)) for kind in kinds]}
    out, _ = show({"GET /system/df": usage}, "system", "df")
    assert out == (
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
        "Images          2         1         4.096kB   1.024kB (25%)\n"
        "Build Cache     1         0         9kB       9kB\n"
        "Compiled Code   3         2         8.192kB   0B (0%)\n"
        "Engine          1         1         5B        0B\n"
    )
    out, _ = show({"GET /system/df": usage}, "system", "df", "-v")
    assert "Build cache usage: 9kB\n" in out
    assert "All together: 21.29kB (21293 bytes, as du counts)" in out


def test_nothing_in_a_table_commands_the_terminal(show: Any) -> None:
    """Who made an image wrote its history, and its labels, which events tell."""
    layer = {"Id": "a" * 64, "Created": 0, "CreatedBy": "RUN \x1b]0;x\x07\nb\tc", "Size": 0}
    text, _ = show({"GET /images/x/history": [layer]}, "history", "--no-trunc", "x")
    assert "RUN ?]0;x? b c" in text
