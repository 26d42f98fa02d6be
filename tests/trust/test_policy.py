"""Policies: which requirements hold for an image, and what files are refused as a whole."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.pairs import DIGEST, private, public, simple

from wherry.oci import parse_reference
from wherry.trust import (
    Claims,
    InvalidPolicy,
    Subject,
    Untrusted,
    Verified,
    judge,
    read_policy,
    write_payload,
)

ACCEPT = [{"type": "insecureAcceptAnything"}]
REJECT = [{"type": "reject"}]
KEY = base64.b64encode(private().public.pem).decode()


def signed(identity: dict[str, str] | None = None, key: str = KEY) -> list[dict[str, object]]:
    extra = {"signedIdentity": identity} if identity else {}
    return [{"type": "sigstoreSigned", "keyData": key, **extra}]


def decided(
    folder: Path,
    name: str | None,
    requirements: object,
    *identities: str,
    scopes: Mapping[str, object] | None = None,
) -> list[Verified]:
    """The decision about an image that was signed under `identities`. Raises Untrusted."""
    file = folder / "policy.json"
    document = {"default": requirements, "transports": {"docker": scopes or {}}}
    file.write_text(json.dumps(document))
    policy, _ = read_policy(file)
    reference = parse_reference(name).with_default_tag() if name else None
    digest = parse_reference(f"x@{DIGEST}").digest
    assert digest
    signatures = [simple(write_payload(Claims(digest, each))) for each in identities]
    subject = Subject(f"image {name}", frozenset({DIGEST}), reference)
    return judge(subject, policy.requirements(reference), signatures)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("hello", "docker.io/library/hello:latest"),
        ("hello:1", "docker.io/library/hello"),
        ("hello:1", "docker.io/library"),
        ("hello:1", "docker.io"),
        ("hello:1", "*.io"),
        ("hello:1", ""),
        ("team/hello", "docker.io/team"),
        (f"hello@{DIGEST}", f"docker.io/library/hello@{DIGEST}"),
        (f"hello:1@{DIGEST}", "docker.io/library/hello"),
        ("a.b.example.org:5000/x/y:2", "a.b.example.org:5000/x/y"),
        ("a.b.example.org:5000/x/y:2", "a.b.example.org:5000"),
        ("a.b.example.org:5000/x/y:2", "*.b.example.org"),
        ("a.b.example.org:5000/x/y:2", "*.example.org"),
        ("localhost:5000/x", "localhost:5000"),
    ],
)
def test_a_scope_is_for_what_is_below_it(tmp_path: Path, name: str, scope: str) -> None:
    assert decided(tmp_path, name, REJECT, scopes={scope: ACCEPT}) == []
    with pytest.raises(Untrusted):
        decided(tmp_path, name, ACCEPT, scopes={scope: REJECT})


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("hello", "hello"),
        ("hello", "docker.io/library/hell"),
        ("hello:2", "docker.io/library/hello:1"),
        ("helloworld", "docker.io/library/hello"),
        ("example.org/x", "*.example.org"),
        ("a.example.org/x", "*.*.org"),
        ("a.example.org:5000/x", "a.example.org"),
        ("badexample.org/x", "*.example.org"),
        # A tag beside a digest names nothing, so nobody gets past by writing another one.
        (f"hello:1@{DIGEST}", "docker.io/library/hello:1"),
        (None, ""),
    ],
)
def test_a_scope_is_for_nothing_else(tmp_path: Path, name: str | None, scope: str) -> None:
    with pytest.raises(Untrusted, match=r"policy\.json:1 rejects it"):
        decided(tmp_path, name, REJECT, scopes={scope: ACCEPT})


def test_the_most_specific_scope_alone_counts(tmp_path: Path) -> None:
    scopes = {
        "": REJECT,
        "docker.io": REJECT,
        "docker.io/library/hello": ACCEPT,
        "docker.io/library/hello:2": REJECT,
    }
    assert decided(tmp_path, "hello:1", REJECT, scopes=scopes) == []
    with pytest.raises(Untrusted):
        decided(tmp_path, "hello:2", ACCEPT, scopes=scopes)


def test_every_requirement_must_be_met(tmp_path: Path) -> None:
    another = base64.b64encode(private(name="another").public.pem).decode()
    anyhow = {"type": "matchRepository"}
    assert len(decided(tmp_path, "hello", ACCEPT + signed(anyhow), "hello")) == 1
    for requirements in (
        signed(anyhow) + REJECT,
        signed(anyhow) + signed(anyhow, another),
        signed(anyhow, another) + ACCEPT,
    ):
        with pytest.raises(Untrusted):
            decided(tmp_path, "hello", requirements, "hello")


def test_any_of_several_keys_will_do(tmp_path: Path) -> None:
    files = [tmp_path / "a.pub", tmp_path / "b.pub"]
    files[0].write_bytes(private(name="another").public.pem)
    files[1].write_bytes(private().public.pem)
    requirement = {
        "type": "sigstoreSigned",
        "keyPaths": [str(file) for file in files],
        "signedIdentity": {"type": "matchRepository"},
    }
    (verified,) = decided(tmp_path, "hello", [requirement], "hello")
    assert verified.key.name == str(files[1])
    assert verified.key.fingerprint == public().fingerprint
    requirement["keyPaths"] = [str(files[0])]
    with pytest.raises(Untrusted, match=r"a\.pub \(ECDSA P-256.*its signature is by another key"):
        decided(tmp_path, "hello", [requirement], "hello")


RULES: list[tuple[dict[str, str] | None, str, list[str], list[str]]] = [
    # rule, image, identities that do, identities that do not
    (None, "hello:1", ["hello:1", "docker.io/library/hello:1"], ["hello", "hello:2", "x/hello:1"]),
    (None, f"hello@{DIGEST}", ["hello:1", "hello:2"], ["hello", "x/hello:1"]),
    ({"type": "matchExact"}, "hello:1", ["hello:1"], ["hello", "hello:2"]),
    ({"type": "matchExact"}, f"hello@{DIGEST}", [f"hello@{DIGEST}"], ["hello:1", "hello"]),
    ({"type": "matchRepository"}, "hello:1", ["hello", "hello:2"], ["x/hello", "other.org/hello"]),
    (
        {"type": "exactReference", "dockerReference": "vendor.org/hello:9"},
        "hello:1",
        ["vendor.org/hello:9"],
        ["vendor.org/hello", "vendor.org/hello:1", "hello:1"],
    ),
    (
        {"type": "exactRepository", "dockerRepository": "vendor.org/hello"},
        "hello:1",
        ["vendor.org/hello:9", "vendor.org/hello"],
        ["vendor.org/hello/x", "hello:1"],
    ),
    (
        {"type": "remapIdentity", "prefix": "mirror:5000/v", "signedPrefix": "vendor.org"},
        "mirror:5000/v/hello:1",
        ["vendor.org/hello:1"],
        ["vendor.org/hello", "vendor.org/v/hello:1", "mirror:5000/v/hello:1"],
    ),
    (
        {"type": "remapIdentity", "prefix": "mirror:5000/v", "signedPrefix": "vendor.org"},
        "mirror:5000/vv/hello:1",
        ["mirror:5000/vv/hello:1"],
        ["vendor.org/hello:1", "vendor.orgv/hello:1"],
    ),
    ({"type": "matchDigest"}, "hello:1", ["hello", "anything/else:7", ""], []),
]


@pytest.mark.parametrize(("rule", "image", "good", "bad"), RULES)
def test_the_name_in_a_signature_must_be_the_one_that_is_asked_for(
    tmp_path: Path, rule: dict[str, str] | None, image: str, good: list[str], bad: list[str]
) -> None:
    for identity in good:
        assert decided(tmp_path, image, signed(rule), identity), identity
    for identity in [*bad, *["", "NOT/a name"] * bool(bad)]:
        with pytest.raises(Untrusted, match=r"for the name|without a name"):
            decided(tmp_path, image, signed(rule), identity)


def test_an_image_without_a_name_matches_no_name(tmp_path: Path) -> None:
    for rule in (None, {"type": "matchRepository"}, {"type": "matchExact"}):
        with pytest.raises(Untrusted, match="a name, which this image has not"):
            decided(tmp_path, None, signed(rule), "hello:1")
    exactly = {"type": "exactRepository", "dockerRepository": "hello"}
    assert decided(tmp_path, None, signed(exactly), "hello:1")


def test_a_refusal_says_who_should_have_signed_and_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(Untrusted) as caught:
        decided(tmp_path, "hello:1", signed(), "hello")
    told = str(caught.value)
    assert (
        f"{tmp_path}/policy.json:1 wants it signed by the key at {tmp_path}/policy.json:1" in told
    )
    assert "for the name hello (docker.io/library/hello:1 is wanted)" in told


INVALID: list[tuple[str, int, str]] = [
    ("", 1, "expected a value"),
    ("{}", 1, 'the field "default" is missing'),
    ('{"default": []}', 1, "one or more requirements"),
    ('{"default": {"type": "reject"}}', 1, "one or more requirements"),
    ('{\n"default": [{"type": "reject"}],\n"default": []}', 3, "twice"),
    ('{\n"default": [\n{"type": "signedBy"}]}', 3, '"signedBy" is not understood'),
    ('{"default": [{}]}', 1, "a requirement without a type"),
    ('{"default": [{"type": 7}]}', 1, "a text is expected"),
    ('{"default": [{"type": "reject", "because": "x"}]}', 1, '"because" is not understood'),
    ('{"default": [{"type": "sigstoreSigned"}]}', 1, "exactly one of keyPath"),
    ('{"default": [{"type": "sigstoreSigned", "keyData": "x", "keyPath": "/x"}]}', 1, "exactly"),
    ('{"default": [{"type": "sigstoreSigned", "keyData": "!"}]}', 1, "not base64"),
    ('{"default": [{"type": "sigstoreSigned", "keyData": "AAAA"}]}', 1, "holds no key"),
    ('{"default": [{"type": "sigstoreSigned", "keyPaths": []}]}', 1, "one or more"),
    ('{"default": [{"type": "sigstoreSigned", "keyPath": "my.pub"}]}', 1, "must begin with a /"),
    ('{"default": [{"type": "sigstoreSigned", "fulcio": {}}]}', 1, '"fulcio" is not understood'),
    ('{"default": [{"type": "sigstoreSigned",\n"keyPath": "/nowhere/my.pub"}]}', 2,
     "/nowhere/my.pub: cannot be read: No such file"),
    ('{"default": [{"type": "reject"}],\n"transports": {"dokcer": {}}}', 2, 'transport "dokcer"'),
    ('{"default": [{"type": "reject"}],\n"transports": {"docker": []}}', 2, "object is expected"),
    ('{"default": [{"type": "reject"}],\n"transports": {"dir": {"/x":\n[{"type": "x"}]}}}', 3,
     '"x" is not understood'),
    ('{"default": [{"type": "reject"}], "surprise": 1}', 1, '"surprise" is not understood'),
    ('{"default": [{"type": "reject"}]} // done', 1, "follows after the end"),
    (f'{{"default": {json.dumps(signed({"type": "matchAll"}))}}}', 1, '"matchAll" is not'),
    (f'{{"default": {json.dumps(signed({"type": "matchExact", "x": "y"}))}}}', 1, '"x" is not'),
    (f'{{"default": {json.dumps(signed({"type": "exactReference"}))}}}', 1, "is missing"),
    (f'{{"default": {json.dumps(signed({"type": "exactReference", "dockerReference": "hello"}))}}}',
     1, "with a tag"),
    (f'{{"default": {json.dumps(signed({"type": "exactRepository", "dockerRepository": "a:1"}))}}}',
     1, "without a tag"),
    (f'{{"default": {json.dumps(signed({"type": "exactRepository", "dockerRepository": "A"}))}}}',
     1, "names are lower case"),
    ('{"default": ' + json.dumps(signed(
        {"type": "remapIdentity", "prefix": "a.org/x:1", "signedPrefix": "b"})) + "}", 1,
     "no host, namespace or repository"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "said"), INVALID)
def test_what_is_not_understood_makes_the_file_invalid(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text)
    with pytest.raises(InvalidPolicy) as caught:
        read_policy(file)
    told = str(caught.value)
    assert told.startswith(f"{file}:{line}: ")
    assert said in told
    assert "\n" not in told


def test_a_policy_that_cannot_be_read_is_invalid(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(InvalidPolicy, match="cannot be read"):
            read_policy(path)
    (tmp_path / "large.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(InvalidPolicy, match="larger than"):
        read_policy(tmp_path / "large.json")


def test_the_files_of_a_policy_are_told(tmp_path: Path) -> None:
    key, file = tmp_path / "a.pub", tmp_path / "policy.json"
    key.write_bytes(private().public.pem)
    requirement = {"type": "sigstoreSigned", "keyPath": str(key)}
    file.write_text(json.dumps({"default": [requirement]}))
    assert read_policy(file)[1] == {file: file.stat(), key: key.stat()}


@given(st.binary(max_size=200))
def test_a_policy_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any-policy.json"
    file.write_bytes(data)
    with pytest.raises(InvalidPolicy):
        read_policy(file)
