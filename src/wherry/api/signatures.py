"""Signatures of images."""

from wherry.api.call import Call, empty_answer, json_answer
from wherry.api.credentials import registry_auth, registry_config
from wherry.api.http import Response
from wherry.engine.trust.signatures import NewSignature

VERIFY_KEY = "X-Wherry-Verify-Key"
"""The header of a request that wants an image signed: base64 of a public key's PEM."""


async def listing(call: Call) -> Response:
    """The signatures of an image, unverified; with `remote` those in its registry, too."""
    found = await call.engine.signatures.show(
        call.path["name"],
        remote=call.flag("remote"),
        credentials=registry_auth(call),
        mirrors=registry_config(call),
    )
    return json_answer(found)


async def add(call: Call) -> Response:
    """Take a signature that a client has made."""
    await call.engine.signatures.add(call.path["name"], await call.json(NewSignature))
    return empty_answer(201)


def verify_key(call: Call) -> str:
    """The key that an image must be signed with, in base64; empty if none is asked for."""
    return call.http.headers.get(VERIFY_KEY, "").strip()
