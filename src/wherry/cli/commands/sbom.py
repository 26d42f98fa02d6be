"""`sbom`: what an image or a file is made of, as a document for other tools."""

from __future__ import annotations

import os

from wherry.cli.command import Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import text
from wherry.cli.looking import ask, is_file
from wherry.cli.new_file import write_file
from wherry.cli.platform import PLATFORMS, platform_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_FORMATS = ("cyclonedx-json", "cyclonedx-xml")


def _sbom(session: Session, arguments: Arguments) -> int:
    [name] = arguments.words
    form = arguments.text("format") or _FORMATS[0]
    if form not in _FORMATS:
        raise UsageError(f'"{form}" is not a format; the formats are {", ".join(_FORMATS)}')
    if is_file(name):
        document = _of_file(name, form)
    else:
        query = {"format": form}
        if platform := platform_of(arguments.text("platform")):
            query["platform"] = platform
        document = ask(session, f"/images/{name}/sbom", query)
    target = arguments.text("output")
    if target in ("", "-"):
        session.write(document.decode())
    else:
        write_file(target, (document,))
    return 0


def _of_file(path: str, form: str) -> bytes:
    from datetime import UTC, datetime

    from wherry import sbom, wasm

    try:
        with open(path, "rb") as file:
            changed = datetime.fromtimestamp(int(os.fstat(file.fileno()).st_mtime), UTC)
            anatomy = wasm.dissect(file)
    except wasm.InvalidWasm as error:
        raise CommandError(f"{path}: {error}", 126) from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", 126) from None
    name = os.path.basename(path)
    subject = sbom.Subject(
        name=name,
        version=anatomy.metadata.version,
        digest=anatomy.digest,
        is_image=False,
        created=changed.isoformat(),
        author=anatomy.metadata.authors,
    )
    return sbom.write(subject, [sbom.Module(name, anatomy, is_program=True)], form=form)


SBOM = Command(
    _sbom,
    "Write the bill of materials of an image, or of a .wasm file",
    "IMAGE|FILE",
    (
        text("format", "f", f"How it is written: {' or '.join(_FORMATS)}", metavar="FORMAT",
             default=_FORMATS[0], complete=_FORMATS),
        text("output", "o", "Write it into this file", metavar="FILE", complete="file"),
        text("platform", "", "Of the image for this platform", metavar="OS/ARCH",
             complete=PLATFORMS),
    ),
    least=1,
    most=1,
    complete=("image",),
    detail=(
        "Lists modules and components with what they were built of and by, and the packages of\n"
        "Python, npm, RubyGems, dpkg and apk that are installed in the image: with versions,\n"
        "licences, digests and where they lie. The same image always gives the same document."
    ),
    examples=(
        "wherry sbom hello",
        "wherry sbom -f cyclonedx-xml -o hello.xml hello",
        "wherry sbom ./tool.wasm",
    ),
)  # fmt: skip
