"""`build`: a Dockerfile and a folder become an image."""

from __future__ import annotations

import os
import sys

from wherry.cli.command import Command
from wherry.cli.errors import CommandError
from wherry.cli.flags import many, switch, text
from wherry.cli.platform import PLATFORMS, platform_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wherry.cli.flags import Arguments
    from wherry.cli.outputs import Output
    from wherry.cli.session import Session

_PORTION = 1 << 18
_SECRET_KEYS = {"source": "src"}


def _build(session: Session, arguments: Arguments) -> int:
    remote = _remote(arguments)
    dockerfile, body = (arguments.text("file"), b"") if remote else _context(arguments)
    outputs = _outputs(arguments)
    fetched = [output for output in outputs if output.is_fetched]
    # What is told must not get into an archive on stdout.
    quiet = arguments.switch("quiet") or any(output.is_stdout for output in fetched)
    query = {
        "t": arguments.many("tag"),
        "dockerfile": dockerfile,
        "buildargs": _build_arguments(arguments.many("build-arg")),
        "labels": dict(_pair(label) for label in arguments.many("label")),
        "target": arguments.text("target"),
        "platform": platform_of(",".join(arguments.many("platform"))),
        "nocache": arguments.switch("no-cache"),
        "pull": arguments.switch("pull"),
        "networkmode": arguments.text("network"),
        "remote": remote,
        "outputs": _documents(outputs),
        "rm": True,
    }
    if arguments.many("secret"):
        query["secrets"] = _send_secrets(session, arguments.many("secret"))
    headers = ("Content-Type: application/x-tar", *_logins(session))
    response = session.client.request("POST", "/build", query, body, headers)
    from wherry.cli.build_view import follow_build, follow_quietly

    if quiet:
        identity = follow_quietly(response.lines())
        if not fetched:
            session.write_line(identity)
    else:
        from wherry.cli.terminal import can_redraw

        live = arguments.text("progress") == "auto" and can_redraw(1)
        identity = follow_build(session, response.lines(), live=live)
    for output in fetched:
        from wherry.cli.outputs import fetch

        # Without another use for the image, it goes once its last files are here.
        last = output is fetched[-1] and len(fetched) == len(outputs)
        fetch(session, identity, output, arguments.many("tag"), forget=last)
    if arguments.text("iidfile"):
        with open(arguments.text("iidfile"), "w", encoding="ascii") as file:
            file.write(identity)
    return 0


def _outputs(arguments: Arguments) -> list[Output]:
    texts = arguments.many("output")
    if arguments.switch("push"):
        texts = [*texts, "type=registry"]
    if not texts:
        return []
    from wherry.cli.outputs import parse_output

    return [parse_output(text) for text in texts]


def _documents(outputs: list[Output]) -> str:
    if not outputs:
        return ""
    from wherry.client.json import encode

    return encode([output.document() for output in outputs])


def _remote(arguments: Arguments) -> str:
    """The URL of a context that the engine gets by itself; a folder of such a name comes first."""
    path = arguments.words[0]
    if os.path.isdir(path) or not ("://" in path or path.startswith(("git@", "github.com/"))):
        return ""
    if arguments.text("file") == "-":
        raise CommandError("a Dockerfile on stdin needs a folder: of a URL, name one in it with -f")
    return path


def _context(arguments: Arguments) -> tuple[str, bytes | Iterable[bytes]]:
    """The Dockerfile's name in the context, and the context as a tar stream."""
    from wherry.client.context import FolderContext

    path = arguments.words[0]
    file = arguments.text("file")
    if path == "-":
        if file == "-":
            raise CommandError("stdin can be the context or the Dockerfile, not both")
        return _context_from_stdin(file)
    if file == "-":
        context = FolderContext(path, sys.stdin.buffer.read())
    else:
        context = FolderContext(path, file)
    return context.dockerfile, context


def _context_from_stdin(file: str) -> tuple[str, bytes | Iterable[bytes]]:
    """A tar archive, or a Dockerfile that needs no files."""
    from wherry.client.context import is_archive, memory_context

    if os.isatty(0):
        raise CommandError("nothing to build from; redirect a tar archive or a Dockerfile to stdin")
    start = sys.stdin.buffer.read(512)
    if not start:
        raise CommandError("stdin is empty: a tar archive or a Dockerfile is needed")
    if is_archive(start):
        return file or "Dockerfile", _rest(start)
    if file:
        raise CommandError(f"stdin is no tar archive, so it holds no {file}")
    return "Dockerfile", memory_context({"Dockerfile": start + sys.stdin.buffer.read()})


def _rest(start: bytes) -> Iterator[bytes]:
    yield start
    while data := sys.stdin.buffer.read(_PORTION):
        yield data


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _build_arguments(texts: list[str]) -> dict[str, str | None]:
    """`NAME=VALUE`; a bare name takes this process's variable. SOURCE_DATE_EPOCH goes along."""
    out: dict[str, str | None] = {}
    if "SOURCE_DATE_EPOCH" in os.environ:
        out["SOURCE_DATE_EPOCH"] = os.environ["SOURCE_DATE_EPOCH"]
    for entry in texts:
        name, equals, value = entry.partition("=")
        out[name] = value if equals else os.environ.get(name)
    return out


def _logins(session: Session) -> tuple[str, ...]:
    """A header with all logins of this person: a build may need any of them."""
    from wherry.client.docker_config import InvalidConfig, config_path

    if not os.path.exists(config_path()) and "DOCKER_AUTH_CONFIG" not in os.environ:
        return ()
    from wherry.client.credentials import Credentials, encoded

    try:
        found = Credentials().everything(session.complain)
    except InvalidConfig as error:
        session.complain(f"warning: {error}; going on without logins")
        return ()
    logins = {key: login.document() for key, login in found.items()}
    return (f"X-Registry-Config: {encoded(logins)}",) if logins else ()


def _send_secrets(session: Session, texts: list[str]) -> str:
    """Hand secrets to the engine, apart from the build that names them; the token for them."""
    from base64 import b64encode

    found = {}
    for text_ in texts:
        id, data = _secret(text_)
        found[id] = b64encode(data).decode()
    return str(session.client.post("/build/secrets", body=found)["Token"])


def _secret(text: str) -> tuple[str, bytes]:
    """`id=NAME[,src=FILE|,env=VARIABLE]`; without a source, the variable or file of that name."""
    fields = dict(_pair(part) for part in text.split(","))
    fields = {_SECRET_KEYS.get(key, key): value for key, value in fields.items()}
    unknown = fields.keys() - {"id", "src", "env", "type"}
    id, kind = fields.get("id", ""), fields.get("type", "")
    if unknown or not id or kind not in ("", "file", "env"):
        raise CommandError(f"--secret {text}: write id=NAME,src=FILE or id=NAME,env=VARIABLE")
    variable = fields.get("env", "")
    source = fields.get("src", "")
    if kind == "env":
        variable, source = variable or source or id, ""
    elif not variable and not source:
        variable, source = (id, "") if id in os.environ and kind != "file" else ("", id)
    if variable:
        if variable not in os.environ:
            raise CommandError(f"--secret {text}: there is no variable {variable}")
        return id, os.environb[os.fsencode(variable)]
    try:
        with open(source, "rb") as file:
            return id, file.read()
    except OSError as error:
        raise CommandError(f"--secret {text}: {source}: {error.strerror}") from None


BUILD = Command(
    _build,
    "Build an image from a Dockerfile",
    "PATH|URL|-",
    (
        many("build-arg", "", "Set a build-time variable", metavar="KEY[=VALUE]"),
        text("file", "f", "The Dockerfile, '-' for stdin (default PATH/Dockerfile)",
             metavar="FILE", complete="file"),
        text("iidfile", "", "Write the image's ID to a file", metavar="FILE", complete="file"),
        many("label", "", "Set a label of the image", metavar="KEY=VALUE"),
        text("network", "", "Network of RUN: default, none or host", metavar="MODE",
             complete=("default", "none", "host")),
        switch("no-cache", "", "Do every step anew"),
        many("output", "o", "A folder for files, or type=TYPE,dest=FILE: local, tar, oci, docker, "
             "wasm-artifact, image or registry", metavar="OUTPUT", complete="file"),
        many("platform", "", "Platform of the image, or several for one image of them all "
             "(default wasi/wasm)", metavar="OS/ARCH[,OS/ARCH...]", complete=PLATFORMS),
        text("progress", "", "How to show progress: auto or plain", default="auto",
             complete=("auto", "plain")),
        switch("pull", "", "Look for newer base images"),
        many("secret", "", "A secret for RUN --mount=type=secret, as id=NAME,src=FILE or env=NAME",
             metavar="SECRET"),
        switch("push", "", "Push the image, as --output type=registry"),
        switch("quiet", "q", "Print only the image's ID"),
        many("tag", "t", "Name of the image, may be given several times", metavar="NAME[:TAG]"),
        text("target", "", "Build up to this stage", metavar="STAGE"),
    ),
    least=1,
    most=1,
    complete=("directory",),
    detail="'-' reads a Dockerfile, or a whole context as a tar archive, from stdin.\n"
           "A URL is that of a git repository (https://HOST/NAME.git#REF:FOLDER), an archive, or "
           "a Dockerfile.",
    examples=(
        "wherry build -t hello .",
        "wherry build -t hello:debug --target debug -f docker/Dockerfile .",
        "wherry build -t hello https://example.org/hello.git#v1.2:deploy",
        "wherry build --platform wasi/wasm,linux/amd64 -t localhost:5000/web --pull .",
    ),
)  # fmt: skip
