"""What a container may reach, as far as its runtime has a say in it.

Sockets of WASI 0.1 go through wherry's own layer, which asks the rules. Those of components, of
other engines and of Linux programs do not: for them the network must enforce the rules, and who
gives it says so in the bundle. Where nobody does, the container is not run.
"""

from typing import TYPE_CHECKING

from wherry.oci import runtime as spec
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox.namespaces import wants_network

if TYPE_CHECKING:
    from wherry.egress import Egress


def rules(config: spec.Spec) -> "Egress | None":
    """The rules of a container; None if it may reach everything. Raises LaunchError."""
    text = (config.annotations or {}).get(spec.EGRESS)
    if text is None:
        return None
    # Imported only here: it brings a library that no other container needs.
    from wherry.egress import Egress

    try:
        return Egress.parse(text)
    except ValueError as error:
        raise LaunchError(f"{spec.EGRESS}: {error}") from None


def are_enforced(config: spec.Spec) -> bool:
    """Whether the network holds the container to its rules, and its name servers do."""
    return (config.annotations or {}).get(spec.ENFORCER) == "network"


def require_enforcer(config: spec.Spec, whose: str) -> None:
    """Raises LaunchError if rules hold for sockets that only the network sees, and it does not.

    `whose` are they, for the message: "a component".
    """
    if spec.EGRESS not in (config.annotations or {}) or not wants_network(config):
        return
    if not are_enforced(config):
        raise LaunchError(
            f"{spec.EGRESS} cannot be enforced here for the sockets of {whose}: only wherry's own"
            " engine does, in the network it gives"
        )
