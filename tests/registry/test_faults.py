"""A registry that cuts, stalls and lies, and a client that goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.registries import (
    Answer,
    ChangeAnswer,
    CutAnswer,
    Faults,
    Garbage,
    registry,
)
from tests.registry.images import Sample, everything, repository_at

from wherry.oci import Descriptor, MediaType, digest_of
from wherry.registry import (
    Client,
    InvalidAnswer,
    NotFound,
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


def test_a_chunk_of_negative_size_is_not_all_that_ever_comes(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    faults.add("GET", "/blobs/", Garbage(head + b"-1\r\n" + b"y" * 1000), times=1000)
    with pytest.raises(Unreachable), repository.blob(sample.layer_descriptor) as stream:
        stream.read(1)


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


@pytest.mark.parametrize("realm", ["{}/token", "http://127.0.0.1:1/token", "nonsense:"])
def test_what_a_registry_asked_for_once_is_not_what_it_asks_for_ever(
    faults: Faults, client: Client, sample: Sample, path: str, realm: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    challenge = f'Bearer realm="{realm.format(faults.url)}"'
    faults.add("GET", "/manifests/", Answer(401, {"WWW-Authenticate": challenge}))
    with pytest.raises(RegistryError):
        repository.manifest("latest")
    faults.clear()
    assert repository.manifest("latest")[1] == sample.manifest
    assert not faults.requests(path="/token")


def test_a_login_that_is_given_up_is_asked_for_anew(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    challenge = f'Bearer realm="{faults.url}/token"'
    faults.add("GET", "/manifests/", Answer(401, {"WWW-Authenticate": challenge}))
    faults.add("GET", "/token", Answer(200, {}, b'{"token": "t", "expires_in": 0}'))
    assert repository.manifest("latest")[1] == sample.manifest
    assert repository.manifest("latest")[1] == sample.manifest
    assert len(faults.requests(path="/token")) == 2


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
