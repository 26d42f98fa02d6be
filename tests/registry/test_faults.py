"""A registry that cuts, stalls and lies, and a client that goes on where it was."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.registries import (
    Answer,
    ChangeAnswer,
    CutAnswer,
    CutRequest,
    Faults,
    Garbage,
    Hold,
    registry,
)
from tests.registry.images import Sample, everything, repository_at, send

from wherry.oci import Descriptor, MediaType, digest_of
from wherry.registry import (
    Abandoned,
    Cancel,
    Client,
    Hosts,
    InvalidAnswer,
    NotFound,
    Patience,
    RegistryError,
    TooManyRequests,
    Unreachable,
)

CATALOG = b'{"errors":[{"code":"UNAVAILABLE","message":"the store is\\naway"}]}'


@pytest.mark.parametrize("reset", [False, True])
def test_a_download_goes_on_where_it_was_cut(
    faults: Faults, client: Client, sample: Sample, path: str, reset: bool
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    # What was on its way is lost with a reset, so that there are as many cuts as tries at most.
    for cut in (0, 1_500_000, None) if reset else (0, 1, 700_000, None, 5, 1_500_000, 0):
        faults.add("GET", "/blobs/", CutAnswer(cut, reset))
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer
    ranges = [seen.headers.get("range") for seen in faults.requests("GET", "/blobs/")]
    assert ranges[0] is None
    assert len(ranges) > 3
    assert reset or ranges[-1] not in (None, "bytes=0-")


def test_a_download_that_gets_nowhere_ends(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    faults.add("GET", "/blobs/", CutAnswer(0), times=1000)
    stream = repository.blob(sample.layer_descriptor)
    with pytest.raises(Unreachable), stream:
        stream.read(100)
    assert len(faults.requests("GET", "/blobs/")) < 20


def test_a_server_without_ranges_sends_it_all_again(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    whole = Answer(200, {}, sample.layer)
    faults.add("GET", "/blobs/", CutAnswer(900_000))
    faults.add("GET", "/blobs/", whole, times=2)
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer
    with repository.blob(sample.layer_descriptor, 1000) as stream:
        assert stream.offset == 0
        assert everything(stream) == sample.layer


@pytest.mark.parametrize(
    "told", ["bytes 0-99/100", "bytes 1000-1/3000000", "bytes 1001-2999999/3000000", "", "pages 1"]
)
def test_another_range_than_asked_for_is_refused(
    faults: Faults, client: Client, sample: Sample, path: str, told: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    faults.add("GET", "/blobs/", ChangeAnswer({"Content-Range": told}), times=10)
    with pytest.raises(InvalidAnswer, match="range"):
        repository.blob(sample.layer_descriptor, 1000)


def test_an_upload_goes_on_where_it_was_cut(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    """docker-registry forgets an upload that is cut; what does not is played by the proxy."""
    repository = repository_at(client, f"{faults.name}/{path}")
    session = f"/v2/{path}/blobs/uploads/1?_state=two"
    faults.add("POST", "/uploads/", Answer(202, {"Location": session}))
    faults.add("PUT", "/uploads/", CutRequest(2_000_000))
    faults.add("GET", "/uploads/", Answer(204, {"Range": "0-1499999"}))
    faults.add("PATCH", "/uploads/", Answer(202, {"Location": "1?_state=3", "Range": "0-2999999"}))
    faults.add("PUT", "/uploads/", Answer(201))
    told = send(repository, sample.layer)
    assert told[-1] == len(sample.layer)
    (rest,) = faults.requests("PATCH")
    assert rest.headers["content-range"] == "1500000-2999999"
    assert rest.body == sample.layer[1_500_000:]
    assert faults.seen[-1].body == b""
    digest = sample.layer_descriptor.digest.replace(":", "%3A")
    assert faults.seen[-1].path == f"/v2/{path}/blobs/uploads/1?_state=3&digest={digest}"


@pytest.mark.parametrize("cut", [0, 1, 2, 100_000, 1_500_000, 2_999_999])
def test_an_upload_that_was_cut_arrives(
    faults: Faults, client: Client, sample: Sample, path: str, cut: int
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", CutRequest(cut))
    told = send(repository, sample.layer)
    assert told[-1] == len(sample.layer)
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer


def test_an_upload_whose_answer_is_lost_is_found_to_have_arrived(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", CutAnswer(None))
    send(repository, sample.layer)
    assert len(faults.requests("PUT", "/uploads/")) == 1
    assert repository.has_blob(sample.layer_descriptor.digest)


def test_an_upload_is_cut_in_every_step_and_arrives(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("POST", "/uploads/", CutAnswer(None))
    faults.add("PUT", "/uploads/", CutRequest(1_000_000))
    faults.add("GET", "/uploads/", CutAnswer(None))
    faults.add("PATCH", "/uploads/", CutRequest(500_000))
    faults.add("GET", "/uploads/", Answer(503))
    faults.add("PATCH", "/uploads/", Answer(502))
    faults.add("PUT", "/uploads/", Answer(500))
    send(repository, sample.layer)
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer


def test_a_forgotten_upload_begins_anew(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", CutRequest(1_000_000))
    faults.add("GET", "/uploads/", Answer(404))
    send(repository, sample.layer)
    assert len(faults.requests("POST", "/uploads/")) == 2
    assert repository.has_blob(sample.layer_descriptor.digest)


def test_a_blob_too_large_for_one_request_goes_in_chunks(
    faults: Faults, client: Client, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample = Sample(70 << 20)
    faults.add("PUT", "/uploads/", Answer(413))
    send(repository, sample.layer)
    assert [s.headers["content-range"] for s in faults.requests("PATCH")] == [
        f"0-{(64 << 20) - 1}",
        f"{64 << 20}-{(70 << 20) - 1}",
    ]
    assert repository.has_blob(sample.layer_descriptor.digest)


def test_a_registry_that_has_more_than_was_sent_is_refused(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", CutRequest(1_000_000))
    faults.add("GET", "/uploads/", Answer(204, {"Range": "0-99999999"}), times=9)
    with pytest.raises(InvalidAnswer, match="says it has"):
        send(repository, sample.layer)


def test_an_upload_that_gets_nowhere_ends(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", Answer(500), times=1000)
    with pytest.raises(Unreachable, match="500"):
        send(repository, sample.layer)
    assert len(faults.seen) < 30


def test_a_registry_that_takes_chunks_and_has_none_is_left(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", Answer(413))
    faults.add("PATCH", "/uploads/", Answer(202, {"Range": "0-0"}), times=1000)
    with pytest.raises(Unreachable, match="lost its place"):
        send(repository, sample.layer)
    assert len(faults.seen) < 30


def test_what_went_on_and_is_refused_begins_anew(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    """A registry with one byte of an upload says the same as one with none."""
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", CutRequest(1))
    faults.add("GET", "/uploads/", Answer(204, {"Range": "0-0"}))
    faults.add("PUT", "/uploads/", Answer(400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}'))
    send(repository, sample.layer)
    assert repository.has_blob(sample.layer_descriptor.digest)


def test_a_file_that_is_too_short_is_told(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    longer = Descriptor(
        media_type=MediaType.LAYER, digest=sample.layer_descriptor.digest, size=4_000_000
    )
    with pytest.raises(RegistryError, match="damaged"):
        repository.upload(longer, lambda at: io.BytesIO(sample.layer[at:]), lambda _: None)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(
    faults: Faults, client: Client, sample: Sample, path: str, status: int
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    faults.add("GET", "/manifests/", Answer(status, {"Retry-After": "0"}), times=3)
    assert repository.manifest("latest")[1] == sample.manifest


def test_what_does_not_pass_is_told_with_the_registrys_words(
    faults: Faults, client: Client, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("GET", "/manifests/", Answer(503, body=CATALOG), times=100)
    with pytest.raises(Unreachable, match="answers 503: the store is away") as raised:
        repository.manifest("latest")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("after", ["3600", "Fri, 31 Dec 2099 23:59:59 GMT"])
def test_who_wants_to_be_left_alone_for_long_is(
    faults: Faults, client: Client, path: str, after: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("GET", "/manifests/", Answer(429, {"Retry-After": after}), times=100)
    with pytest.raises(TooManyRequests, match="try again later"):
        repository.manifest("latest")
    assert len(faults.seen) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\xff" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 999999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 302 Found\r\nLocation: \r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
    ids=range(11),
)
def test_garbage_is_no_answer(faults: Faults, client: Client, path: str, data: bytes) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add(".*", "", Garbage(data), times=1000)
    for ask in (lambda: repository.manifest("v1"), lambda: repository.resolve("v1")):
        with pytest.raises(RegistryError) as raised:
            ask()
        assert not isinstance(raised.value, NotFound)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\xfe", b'{"layers":', b"[" * 100_000, b"null"])
def test_a_manifest_that_is_none_is_refused(
    faults: Faults, client: Client, path: str, body: bytes
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("GET", "/manifests/", Answer(200, {"Content-Type": MediaType.MANIFEST}, body))
    with pytest.raises(InvalidAnswer):
        repository.manifest("v1")


def test_a_manifest_of_any_size_is_read_to_four_megabytes(
    faults: Faults, client: Client, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    given = 0

    def endless() -> Iterator[bytes]:
        nonlocal given
        for _ in range(10_000):  # 10 GB
            given += 1 << 20
            yield b" " * (1 << 20)

    head = {"Content-Type": MediaType.MANIFEST}
    faults.add("GET", "/manifests/", Answer(200, {**head, "Content-Length": str(10 << 30)}))
    faults.add("GET", "/manifests/", Answer(200, head, endless()))
    for _ in range(2):
        with pytest.raises(InvalidAnswer, match="4194304"):
            repository.manifest("v1")
    assert given < 200 << 20


def test_a_digest_that_lies_is_refused(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    other = digest_of(b"another")
    faults.add("GET", "/manifests/", ChangeAnswer({"Docker-Content-Digest": other}))
    with pytest.raises(InvalidAnswer, match="has the digest"):
        repository.manifest("latest")
    faults.add("GET", "/manifests/", ChangeAnswer(body=lambda data: data + b" "))
    with pytest.raises(InvalidAnswer, match="has the digest"):
        repository.manifest(sample.digest)
    faults.add("HEAD", "/manifests/", ChangeAnswer({"Docker-Content-Digest": other}))
    assert repository.resolve(sample.digest).digest == sample.digest


def test_two_media_types_for_one_manifest_are_refused(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    faults.add("GET", "/manifests/", ChangeAnswer({"Content-Type": MediaType.INDEX}))
    with pytest.raises(InvalidAnswer, match="Content-Type"):
        repository.manifest("latest")


def test_a_registry_without_head_is_asked_with_get(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    for fault in (Answer(405), ChangeAnswer({"Docker-Content-Digest": None})):
        faults.add("HEAD", "/manifests/", fault)
        assert repository.resolve("latest").digest == sample.digest


@pytest.mark.parametrize("lie", [10, 2_999_999, 3_000_001, 10 << 30])
def test_a_blob_of_another_size_is_refused(
    faults: Faults, client: Client, sample: Sample, path: str, lie: int
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    wrong = Descriptor(media_type=MediaType.LAYER, digest=sample.layer_descriptor.digest, size=lie)
    with pytest.raises(InvalidAnswer, match="has 3000000 bytes"):
        repository.blob(wrong)


def test_a_body_longer_than_the_blob_is_read_to_its_size(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("GET", "/blobs/", Answer(200, {}, iter([sample.layer, b"more" * 1000])))
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer


def test_lists_that_do_not_end_are_left(faults: Faults, client: Client, path: str) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    again = {"Link": f"</v2/{path}/tags/list?n=1000>; rel=next"}
    page = b'{"name":"x","tags":["a","b"]}'
    faults.add("GET", "/tags/list", Answer(200, again, page), times=1000)
    with pytest.raises(InvalidAnswer, match="in circles"):
        list(repository.tags())
    faults.clear()
    for number in range(300):
        link = {"Link": f'</v2/{path}/tags/list?last={number}>; rel="next"'}
        faults.add("GET", "/tags/list", Answer(200, link, b'{"tags":[]}'))
    with pytest.raises(InvalidAnswer, match="in circles"):
        list(repository.tags())
    assert len(faults.seen) < 300


def test_tags_on_pages_are_put_together(faults: Faults, client: Client, path: str) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    for number in range(3):
        link = {"Link": f'<list?n=2&last={number}>; rel="next"'} if number < 2 else {}
        body = b'{"tags":["a%d","b%d"]}' % (number, number)
        faults.add("GET", "/tags/list", Answer(200, link, body))
    assert list(repository.tags()) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_what_is_no_tag_is_left_out(faults: Faults, client: Client, path: str) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    body = b'{"tags":["good","../../x","","a b","\\u001b[2J","-a","_b.c-d"]}'
    faults.add("GET", "/tags/list", Answer(200, {}, body))
    assert list(repository.tags()) == ["good", "_b.c-d"]


def test_a_search_of_version_1_is_used_where_it_is(faults: Faults, client: Client) -> None:
    body = (
        b'{"num_results":2,"results":[{"name":"a/rust","description":"two\\nlines \\u001b[2J",'
        b'"star_count":5,"is_official":true},{"name":"b"},{"name":"c"}]}'
    )
    faults.add("GET", r"/v1/search\?q=ru%20st&n=2", Answer(200, {}, body))
    first, second = client.search(faults.name, "ru st", 2)
    assert (first.name, first.star_count, first.is_official) == ("a/rust", 5, True)
    assert first.description == "two lines [2J"
    assert second.name == "b"


def test_the_api_of_referrers_is_used_where_it_is(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    first, second = digest_of(b"1"), digest_of(b"2")

    def index(digest: str) -> bytes:
        return (
            b'{"schemaVersion":2,"manifests":[{"mediaType":"a/b","size":1,'
            b'"artifactType":"x/y","digest":"%s"}]}' % digest.encode()
        )

    kind = {"Content-Type": MediaType.INDEX}
    link = {"Link": f'</v2/{path}/referrers/{sample.digest}?page=2>; rel="next"'}
    faults.add("GET", "/referrers/", Answer(200, {**kind, **link}, index(first)), times=1)
    faults.add("GET", "page=2", Answer(200, kind, index(second)))
    assert [d.digest for d in repository.referrers(sample.digest)] == [first, second]
    faults.add("GET", "/referrers/", Answer(200, kind, index(first)))
    assert repository.referrers(sample.digest, "other/type") == []
    faults.add("GET", "/referrers/", Answer(200, {**kind, **link}, index(first)), times=1000)
    with pytest.raises(InvalidAnswer, match="does not end"):
        repository.referrers(sample.digest)


def test_a_registry_that_went_away_and_came_back_is_gone_on_with(
    client: Client, sample: Sample, path: str
) -> None:
    with registry() as real:
        repository = repository_at(client, f"{real.name}/{path}")
        sample.push(repository)
        with repository.blob(sample.layer_descriptor) as stream:
            begin = stream.read(100_000)
            real.stop()
            real.start()
            assert begin + everything(stream) == sample.layer


def waiting(faults: Faults, method: str, where: str) -> Hold:
    hold = Hold()
    faults.add(method, where, hold, times=10)
    return hold


@pytest.mark.parametrize("what", ["manifest", "blob", "upload", "resume"])
def test_a_cancelled_transfer_ends_at_once(
    faults: Faults, client: Client, sample: Sample, path: str, what: str
) -> None:
    sample.push(repository_at(client, f"{faults.name}/{path}"))
    cancel = Cancel()
    repository = repository_at(client, f"{faults.name}/{path}", cancel=cancel)
    if what == "resume":
        faults.add("GET", "/blobs/", CutAnswer(100_000))
    hold = waiting(faults, "GET|PUT", {"manifest": "/manif", "upload": "/upl"}.get(what, "/blobs/"))

    def transfer() -> None:
        if what == "manifest":
            repository.manifest("latest")
        elif what == "upload":
            send(repository, b"new" * 1_000_000)
        else:
            with repository.blob(sample.layer_descriptor) as stream:
                everything(stream)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(transfer)
        assert hold.reached.wait(30)
        cancel.cancel()
        with pytest.raises(Abandoned):
            running.result(timeout=30)  # a server may be silent for a minute
    with pytest.raises(Abandoned):
        repository.manifest("latest")
    hold.released.set()
    # Others of the same client are left alone.
    assert repository_at(client, f"{faults.name}/{path}").manifest("latest")[1] == sample.manifest


def test_a_cancelled_wait_for_another_try_ends_at_once(faults: Faults, path: str) -> None:
    client = Client(Hosts(), patience=Patience(first=1000.0, longest=1000.0))
    cancel = Cancel()
    repository = repository_at(client, f"{faults.name}/{path}", cancel=cancel)
    faults.add("GET", "", Answer(503))
    hold = waiting(faults, "GET", "")
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(repository.manifest, "latest")
        threading.Timer(0, cancel.cancel).start()
        with pytest.raises(Abandoned):
            running.result(timeout=30)
    assert not hold.reached.is_set()


def test_connecting_to_who_never_answers_is_cancelled(client: Client, path: str) -> None:
    # A listener whose queue is full drops what else wants to connect, without a word.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        queue = [socket.socket() for _ in range(4)]
        for sock in queue:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        cancel = Cancel()
        repository = repository_at(client, f"127.0.0.1:{port}/{path}", cancel=cancel)
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(repository.manifest, "latest")
            threading.Timer(0.1, cancel.cancel).start()
            with pytest.raises(Abandoned):
                running.result(timeout=10)
        for sock in queue:
            sock.close()


def test_an_answer_in_a_second_connection_is_not_mixed_up(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    """A blob that was left in the middle leaves no bytes for the next request."""
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    for _ in range(5):
        with repository.blob(sample.layer_descriptor) as stream:
            assert stream.read(10) == sample.layer[:10]
        assert repository.manifest("latest")[1] == sample.manifest
