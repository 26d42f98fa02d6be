"""Uploads that are cut, refused and forgotten, and arrive."""

from __future__ import annotations

import io

import pytest
from tests.registries import (
    Answer,
    ChangeAnswer,
    CutAnswer,
    CutRequest,
    Faults,
)
from tests.registry.images import Sample, everything, repository_at, send

from wherry.oci import Descriptor, MediaType
from wherry.registry import (
    Client,
    InvalidAnswer,
    RegistryError,
    Unreachable,
)


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


def test_an_upload_of_which_only_errors_are_heard_begins_anew(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    """Registries whose store has lost it answer so, instead of 404."""
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("PUT", "/uploads/", CutRequest(1_000_000))
    faults.add("GET", "/uploads/", Answer(500), times=1000)
    send(repository, sample.layer)
    assert len(faults.requests("POST")) == 2
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


@pytest.mark.parametrize(("least", "tries"), [(None, 5), ("nonsense", 5), ("33554432", 1)])
def test_chunks_are_no_smaller_than_a_registry_takes_them(
    faults: Faults, client: Client, sample: Sample, path: str, least: str | None, tries: int
) -> None:
    """One that finds all of them too large, too: of 64 MB, a quarter of that, and so on."""
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("POST", "/uploads/", ChangeAnswer({"OCI-Chunk-Min-Length": least}), times=9)
    faults.add("PUT|PATCH", "/uploads/", Answer(413), times=9)
    with pytest.raises(RegistryError, match="takes no blobs of this size"):
        send(repository, sample.layer)
    assert len(faults.requests("PATCH")) == tries


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
