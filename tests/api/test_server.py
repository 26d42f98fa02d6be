"""From request to answer: versions, routes, errors, and clients that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.api.conftest import Api

from wherry import oci
from wherry.engine import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotModified,
)
from wherry.engine.disk_usage import Usage
from wherry.engine.images.inspection import ImageSummary
from wherry.engine.inspection import CreateResult
from wherry.oci import Descriptor


async def test_ping_is_answered_before_the_engine_is_open(api: Api) -> None:
    status, headers, body = await api.ask("GET", "/_ping")
    assert (status, body) == (200, b"OK")
    assert headers["api-version"] == "1.51"
    assert headers["docker-experimental"] == "false"
    assert headers["ostype"] == "linux"
    assert headers["builder-version"] == "1"
    status, headers, body = await api.ask("HEAD", "/v1.41/_ping")
    assert (status, body) == (200, b"")


async def test_everything_else_waits_for_the_engine(api: Api) -> None:
    asking = asyncio.create_task(api.ask("GET", "/volumes"))
    while not api.activity:
        await asyncio.sleep(0)
    api.has(volumes=SimpleNamespace(list=lambda filters: []))
    status, _, body = await asking
    assert (status, json.loads(body)) == (200, {"Volumes": [], "Warnings": None})


async def test_an_engine_that_cannot_open_is_told(api: Api) -> None:
    api.engine.set_exception(EngineError("the disk is on fire"))
    status, _, body = await api.ask("GET", "/volumes")
    assert (status, json.loads(body)) == (500, {"message": "the disk is on fire"})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/v1.52/info", "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("/v1.23/info", "client version 1.23 is too old. Minimum supported API version is 1.24"),
    ],
)
async def test_a_version_that_is_not_spoken_is_refused(api: Api, target: str, message: str) -> None:
    status, headers, body = await api.ask("GET", target)
    assert status == 400
    assert headers["api-version"] == "1.51"
    assert json.loads(body)["message"].startswith(message)


@pytest.mark.parametrize("target", ["/", "/nothing", "/containers/x/nothing", "/v1.44", "//"])
async def test_an_unknown_path_is_not_found(api: Api, target: str) -> None:
    api.has()
    status, _, body = await api.ask("GET", target)
    assert status == 404
    assert "page not found" in json.loads(body)["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("no"), 400),
        (Forbidden("no"), 403),
        (NotFound("no"), 404),
        (Conflict("no"), 409),
        (EngineError("no"), 500),
    ],
)
async def test_errors_of_the_engine_have_their_status(
    api: Api, error: EngineError, status: int
) -> None:
    def fail(name: str) -> None:
        raise error

    api.has(volumes=SimpleNamespace(get=fail))
    answer = await api.ask("GET", "/volumes/x")
    assert answer[0] == status
    assert json.loads(answer[2]) == {"message": "no"}


async def test_not_modified_has_no_body(api: Api) -> None:
    async def start(container: object) -> None:
        raise NotModified("runs already")

    api.has(containers=SimpleNamespace(get=lambda name: name, start=start))
    status, _, body = await api.ask("POST", "/containers/x/start")
    assert (status, body) == (304, b"")


async def test_what_nobody_expected_is_one_line_for_the_client(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.has(volumes=SimpleNamespace(get=lambda name: 1 // 0))
    status, _, body = await api.ask("GET", "/volumes/x")
    assert status == 500
    message = json.loads(body)["message"]
    assert "division" in message
    assert "Traceback" not in message
    assert "Traceback" in capsys.readouterr().err


async def test_names_in_paths_are_decoded(api: Api) -> None:
    named: list[str] = []
    api.has(
        images=SimpleNamespace(history=lambda name, _: named.append(name)),
        volumes=SimpleNamespace(get=named.append),
    )
    await api.ask("GET", "/v1.41/images/localhost:5000/a/b:c/history")
    await api.ask("GET", "/volumes/a%20b")
    assert named == ["localhost:5000/a/b:c", "a b"]


@pytest.mark.parametrize(("version", "told"), [("1.43", 7), ("1.44", None)])
async def test_old_clients_read_the_size_of_an_image_elsewhere(
    api: Api, version: str, told: int | None
) -> None:
    async def usage(_: list[str]) -> Usage:
        return Usage(images=[summary])

    summary = ImageSummary(
        id="i", repo_tags=[], repo_digests=[], created=0, size=7, labels=None,
        descriptor=oci.Descriptor(media_type="", digest="", size=1),
    )  # fmt: skip
    api.has(
        images=SimpleNamespace(list=lambda *_, **__: [summary]), system=SimpleNamespace(usage=usage)
    )
    listing = json.loads((await api.ask("GET", f"/v{version}/images/json"))[2])
    df = json.loads((await api.ask("GET", f"/v{version}/system/df"))[2])["Images"]
    assert [each.get("VirtualSize") for each in (*listing, *df)] == [told, told]


async def test_queries_are_read_as_docker_reads_them(api: Api) -> None:
    asked: list[Any] = []

    def listing(**wanted: Any) -> list[Any]:
        asked.append(wanted)
        return []

    api.has(containers=SimpleNamespace(list=listing))
    await api.ask("GET", '/containers/json?all=True&size=0&limit=7&filters={"name":{"a":true}}')
    (wanted,) = asked
    assert (wanted["all"], wanted["size"], wanted["limit"]) == (True, False, 7)
    assert wanted["filters"].get("name") == ["a"]
    for query in ("limit=x", "filters=[", "filters={]"):
        status, _, body = await api.ask("GET", f"/containers/json?{query}")
        assert status == 400, body


async def test_images_are_told_as_the_clients_version_has_them(api: Api) -> None:
    def listing(*_: object, **__: object) -> list[ImageSummary]:
        image = ImageSummary(
            id="sha256:1", repo_tags=[], repo_digests=[], created=0, size=1, labels=None,
            containers=2, descriptor=Descriptor(media_type="x", digest="sha256:2", size=3),
        )  # fmt: skip
        return [image]

    api.has(images=SimpleNamespace(list=listing))
    told = {}
    for version in ("1.24", "1.43", "1.50", "1.51"):
        _, _, body = await api.ask("GET", f"/v{version}/images/json")
        (image,) = json.loads(body)
        told[version] = (image["Containers"], image.get("VirtualSize"))
    assert told == {"1.24": (-1, 1), "1.43": (-1, 1), "1.50": (-1, None), "1.51": (2, None)}
    status, _, body = await api.ask("GET", "/images/x/json?manifests=1&platform=wasi/wasm")
    assert (status, "cannot both be set" in json.loads(body)["message"]) == (400, True)


async def test_a_volume_driver_without_effect_is_warned_of(api: Api) -> None:
    """Since 1.48; before, the docker command did."""

    async def create(*_: object, **__: object) -> CreateResult:
        return CreateResult(id="x", warnings=[])

    api.has(containers=SimpleNamespace(create=create))
    mounts = [{"Type": "volume", "Target": "/v"}, {"Type": "tmpfs", "Target": "/t"}]
    warnings = {}
    for version in ("1.47", "1.48"):
        for driver, chosen in (("local", mounts), ("local", mounts[1:]), ("", mounts)):
            host = {"VolumeDriver": driver, "Mounts": chosen}
            body = json.dumps({"Image": "x", "HostConfig": host}).encode()
            _, _, answer = await api.ask("POST", f"/v{version}/containers/create", body)
            warnings[version, driver, len(chosen)] = len(json.loads(answer)["Warnings"])
    assert {asked for asked, count in warnings.items() if count} == {("1.48", "local", 2)}


async def test_a_change_is_made_whole_when_the_client_goes(api: Api) -> None:
    begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def start(container: object) -> None:
        begun.set()
        await go.wait()
        ended.set()

    api.has(containers=SimpleNamespace(get=lambda name: name, start=start))
    _, writer = await api.connect()
    writer.write(b"POST /containers/x/start HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
    await begun.wait()
    writer.close()
    while api.server.connections:
        await asyncio.sleep(0)
    go.set()
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_stream_ends_with_its_client(api: Api) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def figures() -> AsyncIterator[dict[str, int]]:
        try:
            yield {"memory": 1}
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    api.has(
        containers=SimpleNamespace(
            get=lambda name: name, stats=lambda container, **wanted: figures()
        )
    )
    reader, writer = await api.connect()
    writer.write(b"GET /containers/x/stats HTTP/1.1\r\nHost: d\r\n\r\n")
    await begun.wait()
    await reader.readuntil(b'{"memory":1}\n')
    writer.close()
    await asyncio.wait_for(ended.wait(), 10)


async def test_wait_answers_its_headers_at_once(api: Api) -> None:
    ending: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
    api.has(
        containers=SimpleNamespace(get=lambda name: name, wait=lambda container, condition: ending)
    )
    reader, writer = await api.connect()
    writer.write(b"POST /containers/x/wait HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
    assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    ending.set_result({"StatusCode": 3})
    await asyncio.wait_for(reader.readuntil(b'{"StatusCode":3}\n'), 10)
    writer.close()


async def test_a_body_that_is_too_long_is_refused(api: Api) -> None:
    api.has()
    status, _, body = await api.ask("POST", "/volumes/create", b" " * (5 << 20))
    assert status == 400
    assert "more than 4194304 bytes" in json.loads(body)["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"Name": 1}', b"[" * 100_000])
async def test_a_body_that_makes_no_sense_is_refused(api: Api, body: bytes) -> None:
    api.has()
    status, _, answer = await api.ask("POST", "/volumes/create", body)
    assert status == 400
    assert "\n" not in json.loads(answer)["message"]


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/commit"), ("POST", "/session")],
)
async def test_what_is_not_there_says_what_to_do_instead(
    api: Api, method: str, target: str
) -> None:
    api.has()
    status, _, body = await api.ask(method, target)
    assert status == 501
    assert len(json.loads(body)["message"]) > 20


async def test_one_connection_serves_many_requests(api: Api) -> None:
    api.has(volumes=SimpleNamespace(list=lambda filters: []))
    reader, writer = await api.connect()
    for _ in range(3):
        writer.write(b"GET /volumes HTTP/1.1\r\nHost: d\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"null}")
    assert api.server.connections == 1
    writer.close()
