"""Registries that do less than Docker's, as the specification lets them, or otherwise."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

import pytest
from tests.registries import Answer, ChangeAnswer, CutAnswer, CutRequest, Faults
from tests.registries.crane import CraneRegistry, crane_registry
from tests.registry.images import Sample, everything, repository_at, send

from wherry.oci import Descriptor, MediaType, digest_of
from wherry.registry import Client, NotFound, RegistryError, Unreachable


@pytest.fixture(scope="module")
def crane() -> Iterator[CraneRegistry]:
    with crane_registry() as running:
        yield running


@pytest.fixture
def before_crane(crane: CraneRegistry) -> Iterator[Faults]:
    """A proxy before crane's registry."""
    with Faults(crane) as proxy:
        yield proxy


def test_crane_gives_back_what_it_got(
    crane: CraneRegistry, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{crane.name}/{path}")
    sample.push(repository)
    assert repository.resolve("latest").digest == sample.digest
    assert repository.manifest("latest")[1] == sample.manifest
    with repository.blob(sample.layer_descriptor, 1000) as stream:
        assert stream.offset == 1000
        assert everything(stream) == sample.layer[1000:]
    assert [*repository.tags()] == ["latest"]
    signature = json.loads(sample.manifest) | {
        "artifactType": "application/x-note",
        "subject": {
            "mediaType": MediaType.MANIFEST,
            "digest": sample.digest,
            "size": len(sample.manifest),
        },
    }
    data = json.dumps(signature).encode()
    repository.put_manifest(digest_of(data), MediaType.MANIFEST, data)
    assert [each.digest for each in repository.referrers(sample.digest)] == [digest_of(data)]
    with pytest.raises(NotFound):
        repository.manifest("nothing")


@pytest.mark.parametrize("cut", [0, 1_500_000, 2_999_999])
def test_an_upload_that_crane_cannot_tell_about_begins_anew(
    before_crane: Faults, client: Client, sample: Sample, path: str, cut: int
) -> None:
    repository = repository_at(client, f"{before_crane.name}/{path}")
    before_crane.add("PUT", "/uploads/", CutRequest(cut))
    assert send(repository, sample.layer)[-1] == len(sample.layer)
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer


def test_crane_takes_chunks(
    before_crane: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{before_crane.name}/{path}")
    before_crane.add("PUT", "/uploads/", Answer(413))
    send(repository, sample.layer)
    (chunk,) = before_crane.requests("PATCH")
    assert chunk.headers["content-range"] == "0-2999999"
    assert repository.has_blob(sample.layer_descriptor.digest)


def test_a_download_that_was_cut_goes_on_at_crane(
    before_crane: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{before_crane.name}/{path}")
    sample.push(repository)
    before_crane.add("GET", "/blobs/", CutAnswer(1_000_000))
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer
    assert [seen.headers.get("range", "")[-8:] for seen in before_crane.requests("GET")] == [
        "",
        "-2999999",
    ]


@pytest.mark.parametrize("offset", [0, 1_000_000])
def test_where_ranges_are_refused_a_blob_comes_whole(
    faults: Faults, client: Client, sample: Sample, path: str, offset: int
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    if not offset:
        faults.add("GET", "/blobs/", CutAnswer(1_000_000))
    faults.add("GET", "/blobs/", Answer(416))
    with repository.blob(sample.layer_descriptor, offset) as stream:
        assert stream.offset == 0
        assert everything(stream) == sample.layer
    assert [bool(s.headers.get("range")) for s in faults.requests("GET", "/blobs/")][-2:] == [
        True,
        False,
    ]


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_what_a_registry_does_not_know_how_to_do_is_done_otherwise(
    faults: Faults, client: Client, sample: Sample, path: str, status: int
) -> None:
    """No HEAD, no mounts, and no word on how far an upload is: then it is sent, whole."""
    repository = repository_at(client, f"{faults.name}/{path}")
    digest = sample.layer_descriptor.digest
    faults.add("HEAD", "", Answer(status), times=9)
    faults.add("POST", "mount=", Answer(status))
    faults.add("GET", "/uploads/", Answer(status))
    faults.add("PUT", "/uploads/", CutRequest(1_000_000))
    assert not repository.has_blob(digest)
    assert not repository.mount(digest, "public/other")
    send(repository, sample.layer)
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_where_nothing_lists_referrers_there_are_none(
    faults: Faults, client: Client, sample: Sample, path: str, status: int
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("GET", "/referrers/", Answer(status), times=2)
    assert repository.referrers(sample.digest) == []
    # And what has that tag is no list of them.
    sample.push(repository, sample.digest.replace(":", "-"))
    assert repository.referrers(sample.digest) == []


def test_how_to_hash_is_told_before_a_blob_comes(faults: Faults, client: Client, path: str) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    data = b"hashed otherwise"
    blob = Descriptor(media_type="a/b", digest=digest_of(data, "sha512"), size=len(data))
    faults.add("POST", "", Answer(202, {"Location": "1?state=2"}))
    faults.add("PUT", "", Answer(201))
    repository.upload(blob, lambda at: io.BytesIO(data[at:]), lambda _: None)
    begin, end = faults.seen
    assert begin.path.endswith("/blobs/uploads/?digest-algorithm=sha512")
    assert "/blobs/uploads/1?state=2&digest=sha512%3A" in end.path


def test_warnings_are_kept_for_people(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository)
    assert repository.warnings == []
    old, both = '299 - "say \\"old\\" no more"', '299 - "a\x1b[2J", 299 - "b", 199 - "c"'
    faults.add("GET|HEAD", "/manifests/", ChangeAnswer({"Warning": old}), times=2)
    faults.add("GET", "/manifests/", ChangeAnswer({"Warning": both}))
    faults.add("GET", "/blobs/", ChangeAnswer({"Warning": f'299 - "{"x" * 5000}"'}))
    repository.resolve("latest")
    repository.manifest("latest")
    repository.manifest("latest")
    repository.blob(sample.layer_descriptor).close()
    assert repository.warnings == ['say "old" no more', "a [2J", "b"]


def test_who_is_not_there_is_not_taken_for_who_says_no(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("HEAD|POST", "", Answer(503), times=8)
    with pytest.raises(Unreachable):
        repository.has_blob(sample.layer_descriptor.digest)
    with pytest.raises(Unreachable):
        repository.mount(sample.layer_descriptor.digest, "public/other")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [(MediaType.DOCKER_MANIFEST, "skopeo copy --format oci"), (MediaType.INDEX, "allow it there")],
)
def test_a_registry_for_oci_only_is_told_as_such(
    faults: Faults, client: Client, sample: Sample, path: str, kind: str, advice: str
) -> None:
    faults.add("PUT", "/manifests/", Answer(415))
    repository = repository_at(client, f"{faults.name}/{path}")
    with pytest.raises(RegistryError, match=f"no manifests of {re.escape(kind)}: .*{advice}"):
        repository.put_manifest("latest", kind, sample.manifest)
