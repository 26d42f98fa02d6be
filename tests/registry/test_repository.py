"""Against the real docker-registry, behind every kind of door."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.registries import Answer, Authority, Faults, RealRegistry, Redirect, registry
from tests.registry.conftest import IMPATIENT
from tests.registry.images import Sample, descriptor, everything, repository_at, send

from wherry.oci import Descriptor, Manifest, MediaType, digest_of, encode, parse_reference
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


@pytest.fixture(params=["open_registry", "tls_registry", "password_registry", "token_registry"])
def any_registry(request: pytest.FixtureRequest) -> RealRegistry:
    found: RealRegistry = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def trusting(any_registry: RealRegistry, tmp_path: Path) -> Client:
    """A client that has the registry's authority in Docker's `certs.d`."""
    if any_registry.ca:
        folder = tmp_path / any_registry.name
        folder.mkdir()
        (folder / "ca.crt").write_bytes(any_registry.ca.read_bytes())
    return Client(Hosts([tmp_path]), patience=IMPATIENT)


def test_what_is_pushed_comes_back_bit_for_bit(
    any_registry: RealRegistry, trusting: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(trusting, f"{any_registry.name}/{path}", ANN)
    assert not repository.has_blob(sample.layer_descriptor.digest)
    sample.push(repository, "v1")
    assert repository.has_blob(sample.layer_descriptor.digest)
    expected = Descriptor(
        media_type=MediaType.MANIFEST, digest=sample.digest, size=len(sample.manifest)
    )
    for reference in ("v1", sample.digest):
        assert repository.resolve(reference) == expected
        assert repository.manifest(reference) == (expected, sample.manifest)
    with repository.blob(sample.layer_descriptor) as stream:
        assert everything(stream) == sample.layer
    assert any_registry.blob(sample.layer_descriptor.digest).read_bytes() == sample.layer


def test_a_download_begins_where_one_says(
    any_registry: RealRegistry, trusting: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(trusting, f"{any_registry.name}/{path}", ANN)
    sample.push(repository)
    for offset in (1, 1_234_567, len(sample.layer) - 1, len(sample.layer)):
        with repository.blob(sample.layer_descriptor, offset) as stream:
            assert stream.offset == offset
            assert everything(stream) == sample.layer[offset:]


def test_a_blob_of_another_repository_is_mounted(
    any_registry: RealRegistry, trusting: Client, sample: Sample, path: str
) -> None:
    sample.push(repository_at(trusting, f"{any_registry.name}/{path}", ANN))
    other = repository_at(trusting, f"{any_registry.name}/{path}/other", ANN)
    assert other.mount(sample.layer_descriptor.digest, path)
    assert other.has_blob(sample.layer_descriptor.digest)
    absent = b"nobody has this"
    assert not other.mount(digest_of(absent), path)
    send(other, absent)
    assert other.has_blob(digest_of(absent))


def test_blobs_of_no_and_of_one_byte_are_sent(
    open_registry: RealRegistry, client: Client, path: str
) -> None:
    repository = repository_at(client, f"{open_registry.name}/{path}")
    for data in (b"", b"x"):
        assert send(repository, data)[-1] == len(data)
        with repository.blob(descriptor(MediaType.CONFIG, data)) as stream:
            assert everything(stream) == data


def test_what_is_not_there_is_not_found(
    any_registry: RealRegistry, trusting: Client, sample: Sample, path: str
) -> None:
    repository = repository_at(trusting, f"{any_registry.name}/{path}", ANN)
    for ask in (
        lambda: repository.resolve("v9"),
        lambda: repository.manifest("v9"),
        lambda: repository.manifest(sample.digest),
        lambda: repository.blob(sample.layer_descriptor),
        lambda: list(repository.tags()),
    ):
        with pytest.raises(NotFound, match=f"is not at {any_registry.name}"):
            ask()


def test_tags_come_from_all_pages(
    open_registry: RealRegistry, client: Client, path: str, faults: Faults
) -> None:
    sample = Sample(10)
    repository = repository_at(client, f"{faults.name}/{path}")
    sample.push(repository, "t0")
    names = {f"t{n}" for n in range(7)}
    for name in names:
        repository.put_manifest(name, MediaType.MANIFEST, sample.manifest)
    assert set(repository.tags()) == names


def test_a_wrong_or_missing_password_says_how_to_log_in(
    password_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    for credentials in (None, Credentials("ann", "wrong"), Credentials("bob", "secret")):
        repository = repository_at(client, f"{password_registry.name}/{path}", credentials)
        with pytest.raises(Denied, match=f"wherry login {password_registry.name}"):
            repository.manifest("v1")
        with pytest.raises(Denied):
            send(repository, sample.layer)


def test_a_login_is_tried_and_told(
    open_registry: RealRegistry, password_registry: RealRegistry, client: Client
) -> None:
    assert client.login(password_registry.name, ANN) == ""
    assert client.login(open_registry.name, ANN) == ""
    with pytest.raises(Denied, match="refuses"):
        client.login(password_registry.name, Credentials("ann", "wrong"))


def test_a_login_may_give_an_identity_token_that_is_as_good(
    token_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    assert token_registry.tokens
    identity = client.login(token_registry.name, ANN)
    assert identity
    token_registry.tokens.asked.clear()
    credentials = Credentials(username="ann", identity_token=identity)
    assert client.login(token_registry.name, credentials) == identity
    sample.push(repository_at(client, f"{token_registry.name}/{path}", credentials))
    assert {asked.method for asked in token_registry.tokens.asked} == {"POST"}
    with pytest.raises(Denied, match="refuses"):
        client.login(token_registry.name, Credentials("ann", "wrong"))


@pytest.mark.parametrize("status", [307, 308])
def test_an_identity_token_is_not_sent_on_to_another_host(client: Client, status: int) -> None:
    with Faults() as server, Faults() as other:
        realm = f'Bearer realm="{server.url}/token",service="x"'
        server.add("GET", "/v2/", Answer(401, {"WWW-Authenticate": realm}))
        server.add("POST", "/token", Redirect(other.url, status=status))
        with pytest.raises(InvalidAnswer, match="not followed"):
            client.login(server.name, Credentials("ann", identity_token="t0ken"))
        assert other.seen == []


def test_who_has_not_logged_in_gets_anonymous_tokens(
    token_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    name = f"{token_registry.name}/{path}"
    sample.push(repository_at(client, name, ANN))
    anonymous = client.repository(parse_reference(name))
    assert anonymous.manifest("latest")[1] == sample.manifest
    private = client.repository(parse_reference(f"{token_registry.name}/private"))
    with pytest.raises(Denied, match="wherry login"):
        private.manifest("latest")


def test_a_token_is_fetched_once_for_many_requests_at_once(
    token_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    assert token_registry.tokens
    name = f"{token_registry.name}/{path}"
    sample.push(repository_at(client, name, ANN))
    token_registry.tokens.asked.clear()
    repository = client.repository(parse_reference(name), ANN)
    with ThreadPoolExecutor(6) as threads:
        found = threads.map(lambda _: repository.manifest("latest"), range(12))
        assert {data for _, data in found} == {sample.manifest}
    assert [asked.scopes for asked in token_registry.tokens.asked] == [[f"repository:{path}:pull"]]


def test_a_token_that_expired_is_replaced(sample: Sample, client: Client, path: str) -> None:
    with registry(token=True) as real:
        assert real.tokens
        real.tokens.lifetime = 0
        sample.push(repository_at(client, f"{real.name}/{path}", ANN))
        real.tokens.lifetime = 300
        sample.push(repository_at(client, f"{real.name}/{path}", ANN))
        assert len(real.tokens.asked) > 2


def test_a_registry_token_is_sent_as_it_is(
    token_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    assert token_registry.tokens
    token = token_registry.tokens.token("ann", [f"repository:{path}:pull,push"])
    token_registry.tokens.asked.clear()
    given = Credentials(registry_token=token)
    sample.push(repository_at(client, f"{token_registry.name}/{path}", given))
    assert not token_registry.tokens.asked


def test_a_known_registry_is_shown_the_login_with_the_first_request(
    password_registry: RealRegistry, client: Client, sample: Sample, path: str
) -> None:
    with Faults(password_registry) as faults:
        sample.push(repository_at(client, f"{faults.name}/{path}", ANN))
        faults.clear()
        repository_at(client, f"{faults.name}/{path}", ANN).manifest("latest")
        assert [seen.method for seen in faults.seen] == ["GET"]


def test_an_unknown_authority_says_where_its_certificate_belongs(
    tls_registry: RealRegistry, tmp_path: Path
) -> None:
    client = Client(Hosts([tmp_path]), patience=IMPATIENT)
    repository = client.repository(parse_reference(f"{tls_registry.name}/x"))
    with pytest.raises(Unreachable, match=f"{tmp_path}/{tls_registry.name}/ca.crt"):
        repository.manifest("latest")


def test_nobody_is_trusted_where_that_is_configured(
    tls_registry: RealRegistry, tmp_path: Path, sample: Sample, path: str
) -> None:
    folder = tmp_path / tls_registry.name
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'server = "{tls_registry.url}"\nskip_verify = true\n')
    client = Client(Hosts([tmp_path]), patience=IMPATIENT)
    sample.push(repository_at(client, f"{tls_registry.name}/{path}"))


def test_a_client_certificate_is_shown(tmp_path: Path, sample: Sample, path: str) -> None:
    authority = Authority(tmp_path / "clients")
    pair = authority.client()
    with registry(client_ca=authority.certificate) as real:
        folder = tmp_path / "certs.d" / real.name
        folder.mkdir(parents=True)
        assert real.ca
        (folder / "ca.crt").write_bytes(real.ca.read_bytes())
        hosts = Hosts([tmp_path / "certs.d"])
        with pytest.raises(RegistryError, match="certificate"):
            sample.push(repository_at(Client(hosts, patience=IMPATIENT), f"{real.name}/{path}"))
        (folder / "me.cert").write_bytes(pair.certificate.read_bytes())
        (folder / "me.key").write_bytes(pair.key.read_bytes())
        sample.push(repository_at(Client(hosts, patience=IMPATIENT), f"{real.name}/{path}"))


def test_plain_http_at_a_port_of_https_is_told(tls_registry: RealRegistry, tmp_path: Path) -> None:
    folder = tmp_path / tls_registry.name
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'server = "http://{tls_registry.name}"\n')
    repository = Client(Hosts([tmp_path])).repository(parse_reference(f"{tls_registry.name}/x"))
    with pytest.raises(Unreachable, match="speaks HTTPS only"):
        repository.manifest("latest")


def test_https_at_a_port_of_plain_http_is_told(open_registry: RealRegistry, tmp_path: Path) -> None:
    folder = tmp_path / open_registry.name
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'server = "https://{open_registry.name}"\n')
    repository = Client(Hosts([tmp_path])).repository(parse_reference(f"{open_registry.name}/x"))
    with pytest.raises(Unreachable, match="does not speak TLS") as caught:
        repository.manifest("latest")
    hint = f"say so by 'server = \"http://{open_registry.name}\"' in {folder}/hosts.toml"
    assert hint in str(caught.value)


def test_a_registry_is_searched_by_its_catalog(
    open_registry: RealRegistry, token_registry: RealRegistry, client: Client
) -> None:
    for real in (open_registry, token_registry):
        sample = Sample(1)
        for name in ("findme/one", "findme/two", "other"):
            sample.push(repository_at(client, f"{real.name}/{name}", ANN))
        found = client.search(real.name, "FindMe", 10, ANN)
        assert [each.name for each in found] == ["findme/one", "findme/two"]
        assert len(client.search(real.name, "findme", 1, ANN)) == 1


def test_referrers_are_kept_under_their_tag_where_there_is_no_api(
    open_registry: RealRegistry, client: Client, path: str
) -> None:
    repository = repository_at(client, f"{open_registry.name}/{path}")
    sample = Sample(10)
    sample.push(repository)
    assert repository.referrers(sample.digest) == []
    subject = descriptor(MediaType.MANIFEST, sample.manifest)
    made = []
    for kind in ("application/x-signature", "application/x-bill"):
        data = encode(
            Manifest(
                schema_version=2,
                config=sample.config_descriptor,
                layers=[],
                subject=subject,
                artifact_type=kind,
                annotations={"for": "tests"},
            )
        )
        repository.put_manifest(digest_of(data), MediaType.MANIFEST, data)
        repository.put_manifest(digest_of(data), MediaType.MANIFEST, data)
        made.append(digest_of(data))
    found = repository.referrers(sample.digest)
    assert [each.digest for each in found] == made
    assert [each.annotations for each in found] == [{"for": "tests"}] * 2
    (bill,) = repository.referrers(sample.digest, "application/x-bill")
    assert bill.digest == made[1]


def test_transfers_in_many_threads_share_a_client(
    open_registry: RealRegistry, client: Client, path: str
) -> None:
    repository = repository_at(client, f"{open_registry.name}/{path}")
    samples = [Sample(200_000) for _ in range(12)]

    def there_and_back(sample: Sample) -> bool:
        send(repository, sample.layer)
        with repository.blob(sample.layer_descriptor) as stream:
            return everything(stream) == sample.layer

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(there_and_back, samples))
