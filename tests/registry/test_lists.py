"""Lists of tags, referrers and search results, good and endless."""

from __future__ import annotations

import pytest
from tests.registries import (
    Answer,
    Faults,
)
from tests.registry.images import Sample, repository_at

from wherry.oci import MediaType, digest_of
from wherry.registry import (
    Client,
    InvalidAnswer,
)


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
