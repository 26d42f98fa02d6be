"""Which addresses containers get, and which they may ask for."""

import pytest

from wherry.engine import Forbidden
from wherry.engine.config import EndpointAddresses
from wherry.engine.networks.leases import Leases
from wherry.engine.record import AddressPool, NetworkRecord

NETWORK = NetworkRecord(
    id="0" * 64,
    name="net",
    created=0,
    driver="bridge",
    pools=[AddressPool(subnet="10.0.0.0/29", gateway="10.0.0.1", auxiliary={"router": "10.0.0.2"})],
    chosen=False,
)


def asked(address: str) -> EndpointAddresses:
    return EndpointAddresses(ipv4_address=address)


def test_an_address_is_one_containers_until_it_is_given_back() -> None:
    leases = Leases()
    first, _ = leases.lease(NETWORK, EndpointAddresses(), ())
    second, _ = leases.lease(NETWORK, EndpointAddresses(), ())
    assert (first, second) == ("10.0.0.3/29", "10.0.0.4/29")
    leases.free(NETWORK.id, first)
    assert leases.lease(NETWORK, EndpointAddresses(), ()) == (first, "")


def test_what_others_ask_for_is_given_to_nobody_else() -> None:
    leases = Leases()
    kept = ["10.0.0.3", "10.0.0.4", "10.0.0.6"]
    assert leases.lease(NETWORK, EndpointAddresses(), kept)[0] == "10.0.0.5/29"
    with pytest.raises(Forbidden, match="no address is free"):
        leases.lease(NETWORK, EndpointAddresses(), kept)
    assert leases.lease(NETWORK, asked("10.0.0.6"), kept)[0] == "10.0.0.6/29"


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.7"])
def test_an_address_of_somebody_else_cannot_be_had(address: str) -> None:
    leases = Leases()
    leases.take(NETWORK.id, "10.0.0.3/29")
    with pytest.raises(Forbidden, match=f"Address already in use: {address} in net"):
        leases.lease(NETWORK, asked(address), ())
