"""The person's logins for registries, to go along with a request."""

from __future__ import annotations

from wherry.client import DaemonError
from wherry.client.credentials import Credentials, Login, encoded, hostname, key_of
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


def headers_to_read(session: Session, *domains: str) -> tuple[str, ...]:
    """Headers with the logins for registries and for the mirrors that are read instead of them.

    The first one's is that of the request, as in Docker. Raises what `login_of` raises.
    """
    logins = {key_of(domain): login_of(session, domain) for domain in domains}
    login = next(iter(logins.values()))
    own = login.headers() if login else ()
    for domain in domains:
        logins.update(_of_mirrors(session, domain))
    config = {key: login.document() for key, login in logins.items() if login}
    return (*own, f"X-Registry-Config: {encoded(config)}") if config else own


def _of_mirrors(session: Session, domain: str) -> dict[str, Login]:
    """The engine knows which hosts are mirrors; whoever has one login only need not ask it."""
    try:
        known = Credentials().hosts() - {hostname(key_of(domain))}
        query = {"registry": domain}
        mirrors = session.client.get("/registries/mirrors", query) if known else []
    except (DaemonError, InvalidConfig):  # another engine; or the pull will tell what is wrong
        return {}
    return {host: login_of(session, host) for host in mirrors if host in known}
