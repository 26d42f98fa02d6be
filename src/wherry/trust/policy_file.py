"""Reading a policy from its file, strictly: what is not understood is an error with its line."""

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from wherry.oci import InvalidReference, parse_reference
from wherry.trust.errors import InvalidPolicy, KeyUnusable
from wherry.trust.identity import DEFAULT_IDENTITY, TYPES, SignedIdentity
from wherry.trust.keys import MAX_KEY, PublicKey, read_public_key
from wherry.trust.policy import (
    TRANSPORT,
    Accept,
    Place,
    Policy,
    Reject,
    Requirement,
    Requirements,
    Signed,
)
from wherry.trust.strict_json import InvalidJson, Node, parse

_MAX_POLICY = 1 << 20
_TRANSPORTS = frozenset(
    {
        "atomic", "containers-storage", "dir", "docker", "docker-archive", "docker-daemon",
        "oci", "oci-archive", "ostree", "sif", "tarball",
    }
)  # fmt: skip
"""Those of containers-transports(5). Their requirements are read, and used for `docker` alone."""
_KEYS = ("keyPath", "keyPaths", "keyData", "keyDatas")
_KNOWN = "wherry knows insecureAcceptAnything, reject and sigstoreSigned"


Files = dict[Path, os.stat_result]
"""Files, each as it was when it was opened."""


def read_policy(path: Path) -> tuple[Policy, Files]:
    """The policy in a file, and every file it was made of. Raises InvalidPolicy."""
    reader = _Reader(path)
    data = reader.contents(path, _MAX_POLICY, Place(str(path)))
    try:
        document = parse(data)
    except InvalidJson as error:
        raise InvalidPolicy(f"{Place(str(path), error.line)}: {error}") from None
    return reader.policy(document), reader.files


class _Reader:
    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self._read = hashlib.sha256()
        self.files: Files = {}

    def contents(self, path: Path, limit: int, place: Place) -> bytes:
        """A file that is part of the policy; `place` is where it is named."""
        try:
            with open(path, "rb") as file:
                self.files[path] = os.fstat(file.fileno())
                data = file.read(limit + 1)
        except OSError as error:
            about = "" if place.file == str(path) else f"{path}: "
            raise InvalidPolicy(f"{place}: {about}cannot be read: {error.strerror}") from None
        if len(data) > limit:
            raise InvalidPolicy(f"{place}: {path} is larger than the {limit} bytes allowed for it")
        self._read.update(
            hashlib.sha256(os.fsencode(path)).digest() + hashlib.sha256(data).digest()
        )
        return data

    def policy(self, node: Node) -> Policy:
        fields = self._object(node, "a policy", ("default",), ("transports",))
        default = self._requirements(fields["default"])
        scopes: dict[str, Requirements] = {}
        if transports := fields.get("transports"):
            for name, content in self._any_object(transports, "transports").items():
                if name not in _TRANSPORTS:
                    raise self._wrong(content, f'there is no transport "{name[:80]}"')
                found = {
                    scope: self._requirements(requirements)
                    for scope, requirements in self._any_object(content, name).items()
                }
                if name == TRANSPORT:
                    scopes = found
        return Policy(default, scopes, f"sha256:{self._read.hexdigest()}")

    def _requirements(self, node: Node) -> Requirements:
        if not isinstance(node.content, list) or not node.content:
            raise self._wrong(node, "a list of one or more requirements is expected")
        return tuple(self._requirement(each) for each in node.content)

    def _requirement(self, node: Node) -> Requirement:
        fields = self._any_object(node, "a requirement")
        kind = self._text(fields["type"]) if "type" in fields else ""
        place = Place(self._file, node.line)
        if kind == "insecureAcceptAnything":
            self._object(node, kind, ("type",), ())
            return Accept(place)
        if kind == "reject":
            self._object(node, kind, ("type",), ())
            return Reject(place)
        if kind != "sigstoreSigned":
            what = f'the requirement "{kind[:80]}"' if kind else "a requirement without a type"
            raise self._wrong(fields.get("type", node), f"{what} is not understood: {_KNOWN}")
        self._object(node, kind, ("type",), (*_KEYS, "signedIdentity"))
        identity = DEFAULT_IDENTITY
        if "signedIdentity" in fields:
            identity = self._identity(fields["signedIdentity"])
        return Signed(place, self._keys(node, fields), identity)

    def _keys(self, node: Node, fields: Mapping[str, Node]) -> tuple[PublicKey, ...]:
        given = [name for name in _KEYS if name in fields]
        if len(given) != 1:
            raise self._wrong(node, f"sigstoreSigned takes exactly one of {', '.join(_KEYS)}")
        name = given[0]
        value = fields[name]
        several = [value]
        if name.endswith("s"):
            if not isinstance(value.content, list) or not value.content:
                raise self._wrong(value, f"{name}: a list of one or more is expected")
            several = value.content
        read = self._key_file if name.startswith("keyPath") else self._key_data
        return tuple(read(each) for each in several)

    def _key_file(self, node: Node) -> PublicKey:
        text = self._text(node)
        place = Place(self._file, node.line)
        if not os.path.isabs(text):
            raise self._wrong(node, f"the key's path '{text[:200]}' must begin with a /")
        path = Path(text)
        try:
            return read_public_key(self.contents(path, MAX_KEY, place), text)
        except KeyUnusable as error:
            raise InvalidPolicy(f"{place}: {error}") from None

    def _key_data(self, node: Node) -> PublicKey:
        place = Place(self._file, node.line)
        try:
            data = base64.b64decode(self._text(node), validate=True)
            return read_public_key(data, f"the key at {place}")
        except (binascii.Error, ValueError):
            raise self._wrong(node, "the key is not base64") from None
        except KeyUnusable as error:
            raise InvalidPolicy(f"{place}: {error}") from None

    def _identity(self, node: Node) -> SignedIdentity:
        fields = self._any_object(node, "signedIdentity")
        kind = self._text(fields["type"]) if "type" in fields else ""
        if kind not in TYPES:
            raise self._wrong(
                fields.get("type", node),
                f'signedIdentity of the type "{kind[:80]}" is not understood: '
                f"wherry knows {', '.join(TYPES)}",
            )
        self._object(node, kind, ("type", *TYPES[kind]), ())
        texts = [self._text(fields[name]) for name in TYPES[kind]]
        if kind in ("exactReference", "exactRepository"):
            try:
                reference = parse_reference(texts[0])
            except InvalidReference as error:
                raise self._wrong(node, str(error)) from None
            whole = bool(reference.tag or reference.digest)
            if whole != (kind == "exactReference"):
                raise self._wrong(node, f"{kind}: a name with{'out' * whole} a tag is expected")
        elif kind == "remapIdentity":
            for text in texts:
                if not text or text.endswith("/") or "@" in text or ":" in text.rpartition("/")[2]:
                    self._check_prefix(node, text)
        return SignedIdentity(kind, *texts)

    def _check_prefix(self, node: Node, text: str) -> None:
        """A host may have a port, which looks like a tag."""
        host, colon, port = text.partition(":")
        if not (host and colon and "/" not in text and port.isdecimal()):
            raise self._wrong(node, f"'{text[:200]}' is no host, namespace or repository")

    def _object(
        self, node: Node, name: str, needed: Sequence[str], allowed: Sequence[str]
    ) -> Mapping[str, Node]:
        """The fields of an object that has all that are needed and no others than are allowed."""
        fields = self._any_object(node, name)
        for field, value in fields.items():
            if field not in (*needed, *allowed):
                raise self._wrong(value, f'{name}: the field "{field[:80]}" is not understood')
        for field in needed:
            if field not in fields:
                raise self._wrong(node, f'{name}: the field "{field}" is missing')
        return fields

    def _any_object(self, node: Node, name: str) -> Mapping[str, Node]:
        if not isinstance(node.content, dict):
            raise self._wrong(node, f"{name}: an object is expected")
        return node.content

    def _text(self, node: Node) -> str:
        if not isinstance(node.content, str):
            raise self._wrong(node, "a text is expected")
        return node.content

    def _wrong(self, node: Node, message: str) -> InvalidPolicy:
        return InvalidPolicy(f"{Place(self._file, node.line)}: {message}")
