"""`run` and `create`."""

from __future__ import annotations

import os

from wherry.cli.attachment import Attachment
from wherry.cli.command import UNLIMITED, Command
from wherry.cli.creation import FLAGS, describe
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import switch, text
from wherry.cli.platform import platform_of
from wherry.cli.verify_key import headers
from wherry.client import DaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_NOT_FOUND = ("no such file", "executable file not found", "cannot find the file")
_ENDINGS = (".wasm", ".wat")
_NOT_RUNNABLE = ("permission denied", "is a directory", "exec format", "not executable")


def _run(session: Session, arguments: Arguments) -> int:
    detach = arguments.switch("detach")
    if detach and arguments.many("attach"):
        raise UsageError("-a and -d exclude each other", 125)
    container, document = _create(session, arguments)
    if detach:
        _start(session, container)
        session.write_line(container)
        return 0
    attachment = Attachment(
        session,
        container,
        tty=document["Tty"],
        stdin=document["StdinOnce"],
        stdout=document["AttachStdout"],
        stderr=document["AttachStderr"],
        detach_keys=arguments.text("detach-keys"),
        forward_signals=arguments.switch("sig-proxy"),
    )
    attachment.join("removed" if arguments.switch("rm") else "next-exit")
    _start(session, container)
    return attachment.follow(pipe_kills=True)


def _make(session: Session, arguments: Arguments) -> int:
    container, _ = _create(session, arguments)
    session.write_line(container)
    return 0


def _create(session: Session, arguments: Arguments) -> tuple[str, dict[str, Any]]:
    """The new container's ID and the document it was made from."""
    image, *command = arguments.words
    policy = arguments.text("pull")
    if policy not in ("always", "missing", "never"):
        raise UsageError(f'invalid argument "{policy}" for "--pull": always, missing or never', 125)
    if _is_file(image):
        from wherry.cli.module_file import image_of

        image = image_of(session, image)
        policy = "never"
    document = describe(arguments, image, command)
    if arguments.has("detach") and arguments.switch("detach"):
        document.update(AttachStdin=False, AttachStdout=False, AttachStderr=False, StdinOnce=False)
    elif document["Tty"] and document["StdinOnce"] and not os.isatty(0):
        raise CommandError("the input device is not a TTY; leave out -t to pipe into -i", 1)
    cidfile = arguments.text("cidfile")
    if cidfile and os.path.lexists(cidfile):
        raise CommandError(f"{cidfile} exists: is that container running? If not, delete it", 125)
    query = {"name": arguments.text("name"), "platform": platform_of(arguments.text("platform"))}
    answer = _create_or_pull(session, arguments, policy, query, document)
    for warning in answer.get("Warnings") or ():
        session.complain(f"warning: {warning}")
    container = str(answer["Id"])
    if cidfile:
        with open(cidfile, "x", encoding="ascii") as file:
            file.write(container)
    return container, document


def _create_or_pull(
    session: Session,
    arguments: Arguments,
    policy: str,
    query: dict[str, str],
    document: dict[str, Any],
) -> Any:
    image = document["Image"]
    key = headers(session, arguments.text("verify-key"))

    def create() -> Any:
        return session.client.request("POST", "/containers/create", query, document, key).json()

    if policy == "always":
        _pull(session, arguments, image, key)
    try:
        return create()
    except DaemonError as error:
        missing = error.status == 404 and "no such image" in error.message.lower()
        if not missing or policy != "missing":
            raise
        if not arguments.switch("quiet"):
            told = f"image '{image}' is not here"
            if image.endswith(_ENDINGS):
                told = f"neither a file nor an image '{image}' is here"
            session.complain(f"{told}, pulling it")
    _pull(session, arguments, image, key)
    return create()


def _pull(session: Session, arguments: Arguments, image: str, key: tuple[str, ...]) -> None:
    """Fetches the image, its progress on stderr."""
    from wherry.cli.transfer import pull
    from wherry.client.image_name import ImageName

    platform = platform_of(arguments.text("platform"))
    try:
        quiet = arguments.switch("quiet")
        pull(session, ImageName(image), platform, output=2, quiet=quiet, headers=key)
    except CommandError as error:
        raise CommandError(str(error), 125) from None


def _start(session: Session, container: str) -> None:
    """Starts it; the failure carries Docker's exit code: 127 no such file, 126 not runnable."""
    try:
        session.start(container)
    except DaemonError as error:
        message = error.message.lower()
        code = error.exit_code
        if code is None:
            code = 125
            if any(part in message for part in _NOT_FOUND):
                code = 127
            elif any(part in message for part in _NOT_RUNNABLE):
                code = 126
        raise CommandError(session.explain(error, needed=True), code) from None


def _is_file(image: str) -> bool:
    """Whether a person means a file of theirs: a path, or a name with a module's ending."""
    if not image.startswith(("./", "../", "/")) and not image.endswith(_ENDINGS):
        return False
    if os.path.isfile(image):
        return True
    if image.startswith((".", "/")):
        raise CommandError(f"{image}: no such file", 127)
    return False


_EXAMPLES = (
    "wherry run --rm hello",
    "wherry run ./tool.wasm --help",
    "wherry run -d --name web -v data:/data -e LOG=debug web",
    "wherry run -d -p 8080:80 --network front --network-alias shop web",
    "echo text | wherry run -i --rm wc",
    "wherry run -it --rm ruby",
)

CREATE = Command(
    _make,
    "Create a container from an image or a .wasm file, without starting it",
    "IMAGE|FILE [COMMAND] [ARG...]",
    FLAGS,
    least=1,
    most=UNLIMITED,
    complete=("image",),
    interspersed=False,
)

RUN = Command(
    _run,
    "Create and run a container from an image or a .wasm file",
    "IMAGE|FILE [COMMAND] [ARG...]",
    (
        *FLAGS,
        switch("detach", "d", "Run in the background and print the container's ID"),
        text("detach-keys", "", "Keys that let go of the container", default="ctrl-p,ctrl-q"),
        switch("sig-proxy", "", "Pass signals on to the container", default=True),
    ),
    least=1,
    most=UNLIMITED,
    complete=("image",),
    examples=_EXAMPLES,
    interspersed=False,
)
