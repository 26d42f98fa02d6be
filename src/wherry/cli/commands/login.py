"""`login` and `logout`: who the person is at a registry."""

from __future__ import annotations

import os
import sys

from wherry.cli.command import Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import switch, text
from wherry.client import ClientError, DaemonError
from wherry.client.credentials import DEFAULT_SERVER, Credentials, Login, hostname, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_MAX_SECRET = 1 << 20
_STDIN = "-"


def _login(session: Session, arguments: Arguments) -> int:
    server = _server(arguments.words)
    username, password = _typed(session, arguments)
    credentials = Credentials()
    stored = credentials.find(server) if not username and not password else Login(server)
    if stored.username and stored.password:
        forget = " ".join(("wherry logout", *arguments.words))
        session.complain(f"using the stored login of {stored.username}; '{forget}' forgets it")
        try:
            return _enter(session, credentials, stored)
        except DaemonError as error:
            session.complain(f"the stored login does not work any more: {error}")
    if not (username and password):
        username, password = _asked(username, password, stored.username)
    return _enter(session, credentials, Login(server, username, password))


def _server(words: list[str]) -> str:
    """The key of the registry that was named."""
    server = hostname(words[0]) if words else "docker.io"
    if key_of(server) == DEFAULT_SERVER:
        return DEFAULT_SERVER
    if not server or any(c.isspace() for c in server):
        raise UsageError(f"'{words[0]}' is no registry: write HOST or HOST:PORT")
    return server


def _typed(session: Session, arguments: Arguments) -> tuple[str, str]:
    """User name and password as far as the command line and stdin give them."""
    username, password = arguments.text("username"), arguments.text("password")
    from_stdin = arguments.switch("password-stdin") or password == _STDIN
    for name, value in (("username", username), ("password", password)):
        if arguments.given(name) and not value:
            raise UsageError(f"--{name} is empty")
    if not from_stdin:
        if password:
            session.complain(
                "warning: a password on the command line can be seen by others and stays in the "
                "shell's history; use --password-stdin"
            )
        return username, password
    if password not in ("", _STDIN):
        raise UsageError("--password and --password-stdin exclude each other")
    if not username:
        raise UsageError("--password-stdin needs --username")
    data = sys.stdin.buffer.read(_MAX_SECRET + 1)
    secret = data.decode(errors="surrogateescape")
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret.strip() or len(data) > _MAX_SECRET:
        raise CommandError("stdin holds no password")
    return username, secret


def _asked(username: str, password: str, usual: str) -> tuple[str, str]:
    """What is missing, asked for at the terminal."""
    if not os.isatty(0):
        raise CommandError("stdin is no terminal to ask at; use --username and --password-stdin")
    from wherry.cli.prompt import ask, ask_secret

    if not username:
        username = ask(f"Username ({usual}): " if usual else "Username: ") or usual
        if not username:
            raise CommandError("a user name is needed")
    if not password:
        password = ask_secret("Password: ")
        if not password:
            raise CommandError("a password is needed")
    return username, password


def _enter(session: Session, credentials: Credentials, login: Login) -> int:
    """Has the engine try the login, then keeps it; a token that was given replaces a password."""
    answer = session.client.post("/auth", body=login.document())
    token = (answer or {}).get("IdentityToken") or ""
    if token:
        login.identity_token, login.password = str(token), ""
    try:
        unencrypted = credentials.store(login)
    except ClientError as error:
        raise CommandError(f"the login is right, but cannot be kept: {error}") from None
    if unencrypted:
        session.complain(
            f"warning: the password is kept unencrypted in {unencrypted}; a credential helper "
            "('credsStore' there) keeps it better"
        )
    session.write_line((answer or {}).get("Status") or "Login Succeeded")
    return 0


def _logout(session: Session, arguments: Arguments) -> int:
    server = _server(arguments.words)
    session.write_line(f"Removing login credentials for {server}")
    if not Credentials().erase(server):
        session.complain(f"there was no login for {server}")
    return 0


LOGIN = Command(
    _login,
    "Log in to a registry",
    "[SERVER]",
    (
        text("password", "p", "Password or access token, '-' to read it from stdin"),
        switch("password-stdin", "", "Read the password or access token from stdin"),
        text("username", "u", "User name"),
    ),
    most=1,
    complete=("registry",),
    detail=(
        "Without SERVER it is docker.io. What is not given is asked for at the terminal. The\n"
        "login is kept where Docker keeps it, in ~/.docker/config.json or the credential helper\n"
        "named there, so each serves the other's."
    ),
    examples=(
        "wherry login registry.example.org",
        'echo "$TOKEN" | wherry login -u ci --password-stdin registry.example.org:5000',
    ),
)
LOGOUT = Command(
    _logout,
    "Forget the login to a registry",
    "[SERVER]",
    most=1,
    complete=("registry",),
    examples=("wherry logout registry.example.org",),
)
