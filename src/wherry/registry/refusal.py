"""What answers mean that are no success, in words for people (distribution-spec, "Error Codes")."""

import msgspec

from wherry.registry.answer import Answer
from wherry.registry.errors import (
    Denied,
    InvalidAnswer,
    NotFound,
    RegistryError,
    TooManyRequests,
    Unreachable,
    one_line,
)
from wherry.registry.headers import retry_after

_MAX_BODY = 64 << 10
_PASSING = frozenset({408, 425, 500, 502, 503, 504})
_PLAIN_TO_TLS = "HTTP request to an HTTPS server"
"""What servers written in Go say to that."""


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


def refusal(answer: Answer, name: str, domain: str = "") -> RegistryError:
    """The error that an unexpected answer is; closes it.

    `name` is what was asked for; `domain` the registry that one may log in to.
    """
    status, host = answer.status, answer.url.authority
    said = _said(answer)
    after = retry_after(answer.headers.get("Retry-After"))
    told = f": {said}" if said else ""
    if status in (401, 403):
        way = f": log in with 'wherry login {domain}'" if domain else ""
        return Denied(f"{name}: {host} denies access{told}{way}")
    if status in (404, 410):
        return NotFound(f"{name} is not at {host}{told}")
    if status == 429:
        text = f"{host} has had too many requests{told}: try again later"
        return TooManyRequests(text, again=True, after=after)
    if status in _PASSING:
        return Unreachable(f"{name}: {host} answers {status}{told}", again=True, after=after)
    if _PLAIN_TO_TLS in said:
        return Unreachable(f"{host} speaks HTTPS only: write https:// for it")
    if 400 <= status < 600:
        return RegistryError(f"{name}: {host} answers {status}{told}")
    if target := answer.headers.get("Location"):
        return InvalidAnswer(
            f"{name}: {host} redirects to {one_line(target)}, which is not followed for this"
        )
    return InvalidAnswer(f"{name}: {host} answers {status}, which makes no sense here")


def _said(answer: Answer) -> str:
    """What the body says: OCI's `errors`, or a line of plain text; nothing for a page of HTML."""
    try:
        data = answer.body(_MAX_BODY, "the error")
    except RegistryError:
        return ""
    try:
        errors = msgspec.json.decode(data, type=_Errors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = data.decode(errors="replace")
        return "" if text.lstrip().startswith(("<", "{", "[")) else one_line(text)
    return one_line("; ".join(error.message or error.code for error in errors[:3]))
