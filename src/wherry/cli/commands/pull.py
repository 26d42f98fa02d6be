"""`pull` and `push`: images from a registry, and to it."""

from __future__ import annotations

from wherry.cli.command import Command
from wherry.cli.errors import UsageError
from wherry.cli.flags import switch, text
from wherry.cli.logins import login_of
from wherry.cli.platform import PLATFORMS, document_of, platform_of
from wherry.cli.transfer import pull, transfer
from wherry.cli.verify_key import VERIFY_KEY, headers
from wherry.client.image_name import DEFAULT_TAG, ImageName

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _pull(session: Session, arguments: Arguments) -> int:
    name, all_tags, quiet = _asked(session, arguments)
    platform = platform_of(arguments.text("platform"))
    key = headers(session, arguments.text("verify-key"))
    pull(session, name, platform, all_tags=all_tags, quiet=quiet, headers=key)
    session.write_line(name.repository + name.suffix)
    return 0


def _push(session: Session, arguments: Arguments) -> int:
    if arguments.switch("artifact"):
        return _push_artifact(session, arguments)
    if len(arguments.words) > 1:
        raise UsageError("takes one name; a file before it is pushed with --artifact")
    name, _, _ = _asked(session, arguments)
    if name.digest:
        raise UsageError(f"{arguments.words[0]}: what is pushed needs a tag, not a digest")
    return _send(session, arguments, name)


def _push_artifact(session: Session, arguments: Arguments) -> int:
    """Of an image the program under the image's name; of a file under the name behind it."""
    from wherry.cli.looking import is_file

    if arguments.switch("all-tags"):
        raise UsageError("--artifact takes one tag, not --all-tags")
    source, target = arguments.words[0], arguments.words[-1]
    name = ImageName(target)
    if name.digest:
        raise UsageError(f"{target}: what is pushed needs a tag, not a digest")
    name.tag = name.tag or DEFAULT_TAG
    if is_file(source):
        if len(arguments.words) == 1:
            raise UsageError(f"{source} is a file: say under which name it is pushed, too")
        from wherry.cli.module_file import image_of

        source = image_of(session, source)
    return _send(session, arguments, name, artifact=source)


def _send(session: Session, arguments: Arguments, name: ImageName, artifact: str = "") -> int:
    """Have the engine push an image, or the program of the image `artifact`."""
    quiet = arguments.switch("quiet")
    query = {
        "tag": name.tag,
        "platform": document_of(arguments.text("platform")),
        "artifact": artifact,
    }
    headers = login_of(session, name.domain).headers()
    transfer(session, f"/images/{name.familiar}/push", query, name, headers, quiet=quiet)
    if quiet:
        session.write_line(name.repository + name.suffix)
    return 0


def _asked(session: Session, arguments: Arguments) -> tuple[ImageName, bool, bool]:
    """The image, whether all its tags are meant, and whether to be quiet."""
    name = ImageName(arguments.words[0])
    all_tags, quiet = arguments.switch("all-tags"), arguments.switch("quiet")
    if all_tags and not name.bare:
        raise UsageError("--all-tags takes a name without a tag")
    if name.bare and not all_tags:
        name.tag = DEFAULT_TAG
        if not quiet:
            session.write_line(f"Using default tag: {DEFAULT_TAG}")
    return name, all_tags, quiet


_QUIET = switch("quiet", "q", "Print nothing but the image's name")

PULL = Command(
    _pull,
    "Fetch an image from a registry",
    "NAME[:TAG|@DIGEST]",
    (
        switch("all-tags", "a", "Fetch all tags of the repository"),
        text("platform", "", "Platform to fetch, of an image that has several",
             metavar="OS/ARCH", complete=PLATFORMS),
        _QUIET,
        VERIFY_KEY,
    ),
    least=1,
    most=1,
    complete=("image",),
    detail=(
        "Of an image for several platforms the one asked for is fetched; else the machine's own\n"
        "where Linux containers can be run, else wasi/wasm. The choice is told."
    ),
    examples=(
        "wherry pull busybox",
        "wherry pull --platform wasi/wasm registry.example.org/team/web:2",
        "wherry pull localhost:5000/hello@sha256:6c3c624b58db…",
    ),
)  # fmt: skip
PUSH = Command(
    _push,
    "Send an image to a registry",
    "NAME[:TAG] | --artifact IMAGE|FILE [NAME[:TAG]]",
    (
        switch("all-tags", "a", "Send all tags that are here"),
        switch("artifact", "", "Send the program alone, as a Wasm OCI artifact"),
        text("platform", "", "Send this platform alone, of an image that has several",
             metavar="OS/ARCH", complete=PLATFORMS),
        _QUIET,
    ),
    least=1,
    most=2,
    complete=("image",),
    detail=(
        "What the registry has already is not sent again. An artifact is a module or component\n"
        "and nothing else, in the CNCF's form; it may be sent under another name than the\n"
        "image's, and of a .wasm file that is no image."
    ),
    examples=("wherry tag hello localhost:5000/hello", "wherry push localhost:5000/hello",
              "wherry push --artifact ./tool.wasm localhost:5000/tool:1"),
)  # fmt: skip
