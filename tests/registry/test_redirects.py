"""Where a registry sends one, and what goes there: never anybody's credentials."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.registries import (
    Answer,
    CutAnswer,
    Faults,
    RealRegistry,
    Redirect,
    registry,
)
from tests.registry.conftest import IMPATIENT
from tests.registry.images import Sample, everything, repository_at, send

from wherry.oci import MediaType, digest_of, parse_reference
from wherry.registry import (
    Client,
    Credentials,
    Denied,
    Hosts,
    InvalidAnswer,
    NotFound,
    RegistryError,
    Unreachable,
)

ANN = Credentials("ann", "secret")


def configured(folder: Path, domain: str, text: str) -> Client:
    """A client with this `hosts.toml` for a domain."""
    (folder / domain).mkdir(parents=True, exist_ok=True)
    (folder / domain / "hosts.toml").write_text(text)
    return Client(Hosts([folder]), patience=IMPATIENT)


def test_a_blob_store_sees_no_credentials(
    password_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    with Faults(password_registry) as faults, Faults() as store:
        repository = repository_at(client, f"{faults.name}/{path}", ANN)
        sample.push(repository)
        faults.add("GET", "/blobs/", Redirect(store.url), times=9)
        store.add("GET", "/blobs/", Answer(200, {}, sample.layer))
        with repository.blob(sample.layer_descriptor) as stream:
            assert everything(stream) == sample.layer
        assert faults.requests("GET", "/blobs/")[0].headers["authorization"].startswith("Basic ")
        (seen,) = store.seen
        assert "authorization" not in seen.headers


def test_a_blob_store_that_cuts_is_asked_for_the_rest(
    open_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    with Faults(open_registry) as faults, Faults(open_registry) as store:
        repository = repository_at(client, f"{faults.name}/{path}")
        sample.push(repository)
        faults.add("GET", "/blobs/", Redirect(store.url), times=9)
        store.add("GET", "/blobs/", CutAnswer(1_000_000))
        with repository.blob(sample.layer_descriptor) as stream:
            assert everything(stream) == sample.layer
        assert [seen.headers.get("range", "")[:6] for seen in store.seen] == ["", "bytes="]


def test_redirects_within_a_registry_keep_the_login(
    password_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    with Faults(password_registry) as faults:
        repository = repository_at(client, f"{faults.name}/{path}", ANN)
        sample.push(repository)
        there = f"/v2/{path}/manifests/{sample.digest}"
        faults.add("GET", "/manifests/v1", Redirect(there, exactly=True, status=302))
        assert repository.manifest("v1")[1] == sample.manifest


def test_redirects_in_circles_are_left(faults: Faults, client: Client, path: str) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("GET", "", Redirect("/v2/round", exactly=True), times=1000)
    with pytest.raises(InvalidAnswer, match="redirects more than"):
        repository.manifest("v1")
    assert len(faults.seen) < 20


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x",
     "http://127.0.0.1:99999/x", "http://127.0.0.1:0/", "gopher:x", "http://[::1"],
)  # fmt: skip
def test_redirects_lead_to_the_web_only(
    faults: Faults, client: Client, path: str, target: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("GET", "", Redirect(target, exactly=True), times=1000)
    with pytest.raises(InvalidAnswer, match="sends one to"):
        repository.manifest("v1")


@pytest.mark.parametrize(
    "target",
    [f"http://{'a' * 300}.invalid/", f"http://[{'f' * 300}]/", f"http://127.0.0.1:1/{'%' * 9}"],
)
def test_a_redirect_to_a_host_that_cannot_be_is_told(
    faults: Faults, tmp_path: Path, path: str, target: str
) -> None:
    """It is looked for among the folders of certs.d, too."""
    repository = repository_at(configured(tmp_path, "x.invalid", ""), f"{faults.name}/{path}")
    faults.add("GET", "", Redirect(target, exactly=True), times=1000)
    with pytest.raises(RegistryError):
        repository.manifest("v1")


@pytest.mark.parametrize(
    "domain",
    ["\0", "a b", "..", "a\r\nX: y", "u:p@host", "127.0.0.1:99999", "[::1", "a" * 9000, "é\0"],
)
def test_what_is_no_registry_is_not_logged_in_to(client: Client, domain: str) -> None:
    with pytest.raises(RegistryError) as raised:
        client.login(domain, ANN)
    assert "\n" not in str(raised.value)


def test_an_upload_that_goes_on_elsewhere_takes_no_credentials_there(
    password_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    with Faults(password_registry) as faults, Faults() as store:
        repository = repository_at(client, f"{faults.name}/{path}", ANN)
        send(repository, b"so that the login is known")
        faults.add("POST", "/uploads/", Answer(202, {"Location": f"{store.url}/here?a=b"}))
        store.add("PUT", "/here", Answer(201))
        send(repository, sample.layer)
        (seen,) = store.seen
        assert "authorization" not in seen.headers
        assert seen.path.startswith("/here?a=b&digest=sha256%3A")
        assert seen.body == sample.layer


def test_from_https_to_http_is_not_followed(tls_registry: RealRegistry, tmp_path: Path) -> None:
    """A proxy that speaks TLS is played by nobody here: the rule is asked itself."""
    from wherry.registry.url import parse_url
    from wherry.registry.web import Web

    (tmp_path / "plain.example").mkdir()
    (tmp_path / "plain.example/hosts.toml").write_text('server = "http://plain.example"')
    web = Web(Hosts([tmp_path]), "wherry", IMPATIENT)
    here = parse_url("https://registry.example/v2/x")
    with pytest.raises(InvalidAnswer, match="from https to http://other"):
        web.step(here, "http://other.example/blob")
    assert str(web.step(here, "http://plain.example/b")) == "http://plain.example/b"
    assert str(web.step(here, "//other.example/b?c=d")) == "https://other.example/b?c=d"
    assert str(web.step(here, "y")) == "https://registry.example/v2/y"


def test_a_mirror_is_asked_first_and_then_the_registry(
    open_registry: RealRegistry, sample: Sample, tmp_path: Path, path: str
) -> None:
    with Faults(open_registry) as mirror, Faults(open_registry) as server:
        client = configured(tmp_path, server.name, f'[host."{mirror.url}"]')
        repository = repository_at(client, f"{server.name}/{path}")
        sample.push(repository)
        assert not mirror.seen  # who pushes goes to the registry itself
        server.clear()
        assert repository.manifest("latest")[1] == sample.manifest
        assert [seen.path for seen in mirror.seen] == [
            f"/v2/{path}/manifests/latest?ns={server.name.replace(':', '%3A')}"
        ]
        assert not server.seen
        mirror.add("GET", "", Answer(404))
        assert repository.manifest("latest")[1] == sample.manifest
        mirror.add("GET", "", Answer(503), times=2)
        with repository.blob(sample.layer_descriptor) as stream:
            assert everything(stream) == sample.layer
        assert len(server.seen) == 2


def test_a_mirror_that_is_not_there_is_asked_once_in_a_transfer(
    open_registry: RealRegistry, sample: Sample, tmp_path: Path, path: str
) -> None:
    with Faults() as gone:
        nobody = gone.url
    client = configured(tmp_path, open_registry.name, f'[host."{nobody}"]')
    repository = repository_at(client, f"{open_registry.name}/{path}")
    sample.push(repository)
    assert repository.manifest("latest")[1] == sample.manifest
    assert list(repository.tags()) == ["latest"]


def test_a_mirror_gets_its_own_credentials_only(
    password_registry: RealRegistry, sample: Sample, tmp_path: Path, path: str
) -> None:
    sample_path = f"{password_registry.name}/{path}"
    sample.push(repository_at(Client(Hosts()), sample_path, ANN))
    with Faults(password_registry) as mirror, Faults() as server:
        client = configured(
            tmp_path, server.name, f'[host."{mirror.url}".header]\nX-Team = ["a", "b"]'
        )
        reference = parse_reference(f"{server.name}/{path}")
        stranger = client.repository(reference, Credentials("bob", "other"))
        with pytest.raises(NotFound):  # of the registry, which has nothing
            stranger.manifest("latest")
        assert all("authorization" not in seen.headers for seen in mirror.seen)
        known = client.repository(reference, Credentials("bob", "other"), others={mirror.name: ANN})
        assert known.manifest("latest")[1] == sample.manifest
        assert all("bob" not in str(seen.headers) for seen in mirror.seen)
        assert all("x-team" not in seen.headers for seen in server.seen)
        assert all(seen.headers.get("x-team") for seen in mirror.seen)


def test_a_mirror_that_lies_is_passed_over(
    open_registry: RealRegistry, sample: Sample, tmp_path: Path, path: str
) -> None:
    with Faults() as liar:
        client = configured(tmp_path, open_registry.name, f'[host."{liar.url}"]')
        repository = repository_at(client, f"{open_registry.name}/{path}")
        sample.push(repository)
        kind = {"Content-Type": MediaType.MANIFEST}
        liar.add("GET", sample.digest, Answer(200, kind, sample.manifest + b" "))
        liar.add("GET", "/blobs/", Answer(200, {}, b"short"))
        assert repository.manifest(sample.digest)[1] == sample.manifest
        with repository.blob(sample.layer_descriptor) as stream:
            assert everything(stream) == sample.layer


def test_bytes_of_a_mirror_that_are_not_the_blobs_are_asked_of_the_next(
    open_registry: RealRegistry, sample: Sample, tmp_path: Path, path: str
) -> None:
    with Faults() as liar:
        client = configured(tmp_path, open_registry.name, f'[host."{liar.url}"]')
        repository = repository_at(client, f"{open_registry.name}/{path}")
        sample.push(repository)
        liar.add("GET", "/blobs/", Answer(200, {}, b"x" * len(sample.layer)), times=9)
        with repository.blob(sample.layer_descriptor) as stream:
            assert everything(stream) != sample.layer
            assert stream.refuse()
        with repository.blob(sample.layer_descriptor) as stream:
            assert everything(stream) == sample.layer
            assert not stream.refuse()  # nobody is left to ask


def test_a_mirror_for_pulls_by_digest_is_not_asked_for_tags(
    open_registry: RealRegistry, sample: Sample, tmp_path: Path, path: str
) -> None:
    with Faults(open_registry) as mirror:
        text = f'[host."{mirror.url}"]\ncapabilities = ["pull"]\n'
        client = configured(tmp_path, open_registry.name, text)
        repository = repository_at(client, f"{open_registry.name}/{path}")
        sample.push(repository)
        repository.manifest("latest")
        assert not mirror.seen
        repository.manifest(sample.digest)
        assert mirror.seen


def test_a_mirror_below_a_path_is_asked_for_what_is_there(
    token_registry: RealRegistry, sample: Sample, tmp_path: Path, client: Client
) -> None:
    """Its tokens are for the repository as the mirror names it."""
    assert token_registry.tokens
    name = f"{token_registry.name}/public/proxied/library/x"
    sample.push(repository_at(client, name, ANN))
    token_registry.tokens.asked.clear()
    with Faults() as server:
        address = f"{token_registry.url}/v2/public/proxied"
        text = f'[host."{address}"]\noverride_path = true\n'
        mirrored = configured(tmp_path, server.name, text)
        repository = mirrored.repository(parse_reference(f"{server.name}/library/x"))
        assert repository.manifest("latest")[1] == sample.manifest
        assert repository.manifest(sample.digest)[1] == sample.manifest
    assert {scope for asked in token_registry.tokens.asked for scope in asked.scopes} == {
        "repository:public/proxied/library/x:pull"
    }


def test_a_store_that_refuses_is_not_to_be_logged_in_to(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    with Faults() as store:
        repository = repository_at(client, f"{faults.name}/{path}")
        sample.push(repository)
        faults.add("GET", "/blobs/", Redirect(store.url), times=9)
        store.add("GET", "/blobs/", Answer(403), times=9)
        with pytest.raises(Denied, match=f"{store.name} denies access") as raised:
            repository.blob(sample.layer_descriptor)
        assert "login" not in str(raised.value)


def test_a_push_that_is_redirected_is_told(
    faults: Faults, client: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(client, f"{faults.name}/{path}")
    faults.add("POST", "/uploads/", Redirect("https://elsewhere.example", status=301), times=9)
    with pytest.raises(InvalidAnswer, match=r"redirects to https://elsewhere\.example"):
        send(repository, sample.layer)


def test_the_hub_is_found_at_a_mirror(
    open_registry: RealRegistry, sample: Sample, tmp_path: Path, client: Client
) -> None:
    sample.push(repository_at(client, f"{open_registry.name}/library/rust"), "1")
    hub = configured(tmp_path, "docker.io", f'server = "{open_registry.url}"')
    repository = hub.repository(parse_reference("rust:1"))
    assert repository.name == "docker.io/library/rust"
    assert repository.manifest("1")[1] == sample.manifest


def test_a_real_pull_through_cache_is_a_mirror(
    open_registry: RealRegistry, sample: Sample, tmp_path: Path, client: Client, path: str
) -> None:
    sample.push(repository_at(client, f"{open_registry.name}/{path}"))
    with registry(proxied=open_registry.url) as cache, Faults() as nowhere:
        mirrored = configured(tmp_path, nowhere.name, f'[host."{cache.url}"]')
        repository = mirrored.repository(parse_reference(f"{nowhere.name}/{path}"))
        assert repository.manifest("latest")[1] == sample.manifest
        with repository.blob(sample.layer_descriptor) as stream:
            assert everything(stream) == sample.layer


def test_a_file_of_the_web_is_fetched(faults: Faults, client: Client) -> None:
    with Faults() as other:
        host, port = faults.name.split(":")
        faults.add("GET", "/file", Redirect(f"{other.url}/there?x=1", exactly=True, status=302))
        other.add("GET", "/there", Answer(200, {"Last-Modified": "then"}, b"content"))
        with client.fetch(f"http://me:p%40ss@{host}:{port}/file#part") as file:
            assert file.url == f"{other.url}/there?x=1"
            assert file.headers["last-modified"] == "then"
            assert file.size == 7
            assert file.read(4) + file.read(100) == b"content"
            assert file.read(100) == b""
        assert faults.seen[0].headers["authorization"] == "Basic bWU6cEBzcw=="
        assert "authorization" not in other.seen[0].headers


def test_a_file_that_is_cut_is_told(open_registry: RealRegistry, client: Client) -> None:
    with Faults() as web:
        for headers in ({"Content-Length": "10"}, {"Content-Length": "7", "Connection": "close"}):
            web.add("GET", "/file", Answer(200, headers, iter([b"cont"])))
        for _ in range(2):
            with client.fetch(f"{web.url}/file") as file, pytest.raises(Unreachable):
                while file.read(3):
                    pass


@pytest.mark.parametrize(
    ("url", "error"),
    [("file:///etc/passwd", "http or https"), ("http://", "no host"), ("x", "http or https"),
     ("http://a b/", "characters"), ("http://a\r\nX: y/", "characters")],
)  # fmt: skip
def test_what_is_no_address_is_not_fetched(client: Client, url: str, error: str) -> None:
    with pytest.raises(RegistryError, match=error):
        client.fetch(url)


def test_a_file_that_is_refused_is_told(faults: Faults, client: Client) -> None:
    faults.add("GET", "/secret", Answer(403))
    with pytest.raises(Denied, match="/secret"):
        client.fetch(f"{faults.url}/secret")
    with pytest.raises(NotFound, match=digest_of(b"x")):
        client.fetch(f"{faults.url}/{digest_of(b'x')}")
