"""What goes wrong with networks, in one line for people."""

from wherry.network.model import Publication


class NetworkError(Exception):
    """The message is one line: what was wrong, and what to do."""


class PortInUse(NetworkError):
    """A port of the host cannot be published because somebody has it."""

    def __init__(self, publication: Publication, holder: str | None) -> None:
        self.publication = publication
        """What was asked for."""
        self.holder = holder
        """The id of the container that has it, if it is one of ours."""
        where = f"{host_address(publication)}/{publication.protocol}"
        by = f"published by container {holder[:12]}" if holder else "in use by another program"
        super().__init__(f"port {where} of the host is {by}")


def host_address(publication: Publication) -> str:
    """Address and port of the host, as people write them."""
    host = publication.host_ip or "0.0.0.0"  # noqa: S104 (what is shown for all addresses)
    return f"[{host}]:{publication.host_port}" if ":" in host else f"{host}:{publication.host_port}"
