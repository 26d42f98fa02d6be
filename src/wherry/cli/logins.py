"""The person's login for a registry, to go along with a request."""

from __future__ import annotations

from wherry.client.credentials import Credentials, Login
from wherry.client.docker_config import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.session import Session


def login_of(session: Session, domain: str) -> Login:
    """The login for a registry, an empty one where there is none.

    A file that cannot be read is warned of, as by Docker: what is for everybody needs no login.
    Raises `HelperFailed`.
    """
    try:
        return Credentials().find(domain)
    except InvalidConfig as error:
        session.complain(f"warning: {error}; going on without a login")
        return Login()
