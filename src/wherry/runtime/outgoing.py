"""What a container may reach, as far as its runtime has a say in it.

Where the network enforces the rules, who gives it says so in the bundle and nothing is done here:
a guest that asks a resolver by packets of its own, as Go does, tells its names to the network only.
Elsewhere sockets of WASI 0.1 go through wherry's own layer, which asks the rules. Those of
components, of other engines and of Linux programs do not, and such a container is not run.
"""

from typing import TYPE_CHECKING

from wherry.oci import runtime as spec
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox.namespaces import wants_network

if TYPE_CHECKING:
    from wherry.egress import Egress


def rules(config: spec.Spec) -> "Egress | None":
    """The rules to be held here; None for everything, or if the network has them.

    Raises LaunchError.
    """
    annotations = config.annotations or {}
    text = annotations.get(spec.EGRESS)
    if text is None or annotations.get(spec.ENFORCER) == "network":
        return None
    # Imported only here: it brings a library that no other container needs.
    from wherry.egress import Egress

    try:
        return Egress.parse(text)
    except ValueError as error:
        raise LaunchError(f"{spec.EGRESS}: {error}") from None


def require_enforcer(config: spec.Spec, whose: str) -> None:
    """Raises LaunchError if rules hold for sockets that only the network sees, and it does not.

    `whose` are they, for the message: "a component".
    """
    annotations = config.annotations or {}
    if spec.EGRESS not in annotations or not wants_network(config):
        return
    if annotations.get(spec.ENFORCER) != "network":
        raise LaunchError(
            f"{spec.EGRESS} cannot be enforced here for the sockets of {whose}: only wherry's own"
            " engine does, in the network it gives"
        )
