"""`save` and `load`: images as tar archives."""

from __future__ import annotations

import os
import sys

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.errors import CommandError
from wherry.cli.flags import switch, text
from wherry.cli.new_file import write_file
from wherry.cli.platform import PLATFORMS, document_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_PORTION = 1 << 18


def _save(session: Session, arguments: Arguments) -> int:
    output = arguments.text("output")
    if not output and os.isatty(1):
        raise CommandError("an archive is nothing for a terminal; use -o FILE or redirect stdout")
    response = session.client.request(
        "GET",
        "/images/get",
        {"names": arguments.words, "platform": document_of(arguments.text("platform"))},
    )
    if not output:
        from wherry.cli.terminal import write_all

        for data in response:
            write_all(1, data)
        return 0
    write_file(output, response)
    return 0


def _load(session: Session, arguments: Arguments) -> int:
    path = arguments.text("input")
    if not path and os.isatty(0):
        raise CommandError("nothing to load; use -i FILE or redirect stdin")
    descriptor = os.open(path, os.O_RDONLY) if path else 0
    query = {
        "quiet": arguments.switch("quiet"), "platform": document_of(arguments.text("platform")),
    }  # fmt: skip
    headers = ("Content-Type: application/x-tar",)
    response = session.client.request("POST", "/images/load", query, _portions(descriptor), headers)
    for line in response.lines():
        if "error" in line:
            raise CommandError(str(line["error"]))
        if "stream" in line:
            session.write(line["stream"])
            sys.stdout.flush()
    return 0


def _portions(descriptor: int) -> Iterator[bytes]:
    while data := os.read(descriptor, _PORTION):
        yield data


SAVE = Command(
    _save,
    "Write images to a tar archive",
    "IMAGE [IMAGE...]",
    (
        text("output", "o", "Write to a file, not to stdout", metavar="FILE", complete="file"),
        text(
            "platform",
            "",
            "Write the image for this platform only, of each",
            metavar="OS/ARCH",
            complete=PLATFORMS,
        ),
    ),
    least=1,
    most=UNLIMITED,
    complete=("image",),
    detail=(
        "The archive is an OCI layout and what 'docker load' reads, both at once.\nThe images' "
        "signatures go along."
    ),
    examples=("wherry save -o hello.tar hello", "wherry save hello | docker load"),
)
LOAD = Command(
    _load,
    "Read images from a tar archive",
    "",
    (
        text("input", "i", "Read a file, not stdin", metavar="FILE", complete="file"),
        text(
            "platform",
            "",
            "Keep the image for this platform only, of each",
            metavar="OS/ARCH",
            complete=PLATFORMS,
        ),
        switch("quiet", "q", "Do not show progress"),
    ),
    examples=("wherry load -i hello.tar", "docker save hello | wherry load"),
)
