"""What to do when a registry refuses, where an engine tells only what was wrong.

wherry's own engine says both; these are what Docker's says, and containerd's inside it.
"""

from __future__ import annotations

_LOGIN = (
    "no basic auth credentials", "unauthorized", "authentication required", "authorization failed",
    "pull access denied", "denied: requested access", "insufficient_scope", "401 unauthorized",
)  # fmt: skip
_PLAIN = ("server gave http response to https client", "first record does not look like a tls")
_PLATFORM = ("no matching manifest", "no match for platform", "does not match the specified")


def hint(message: str, name: str, domain: str) -> str:
    """What to add to a message about an image, beginning with `; `, or empty."""
    lowered = message.lower()
    if "wherry " in message:
        return ""
    if any(part in lowered for part in _PLAIN):
        return (
            f"; {domain} speaks plain HTTP: name it in the engine's configuration (Docker: "
            "'insecure-registries' in /etc/docker/daemon.json)"
        )
    if any(part in lowered for part in _PLATFORM):
        return f"; 'wherry manifest inspect {name}' shows the platforms it is for"
    if any(part in lowered for part in _LOGIN):
        server = "" if domain == "docker.io" else f" {domain}"
        return f"; if it is there and not for everybody, log in with 'wherry login{server}'"
    return ""
