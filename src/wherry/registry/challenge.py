"""The `WWW-Authenticate` header (RFC 9110, section 11.6.1)."""

import re

import msgspec

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=[ ,]|\Z)[ ]*")
_LONE_VALUE = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|\Z))")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*(?:({_WORD})|"((?:[^"\\]|\\.)*)")\s*(?=,|\Z)')
_ESCAPED = re.compile(r"\\(.)")
_MAX = 16 << 10


class Challenge(msgspec.Struct, frozen=True):
    """One way in that a server offers. Scheme and names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a header, or of several joined by commas, as far as they are well formed.

    What follows the first thing that is neither a challenge nor a parameter is left out.
    """
    header = header[:_MAX]
    challenges = []
    at = 0
    while scheme := _SCHEME.match(header, at):
        at = scheme.end()
        parameters: dict[str, str] = {}
        if token := _LONE_VALUE.match(header, at):
            at = token.end()
        else:
            while found := _PARAMETER.match(header, at):
                name, plain, quoted = found.groups()
                value = plain if plain is not None else _ESCAPED.sub(r"\1", quoted)
                parameters.setdefault(name.lower(), value)
                at = found.end()
        challenges.append(Challenge(scheme[1].lower(), parameters))
    return challenges
