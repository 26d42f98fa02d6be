"""`build --output`: what is to become of a build, and fetching what is files of this machine."""

from __future__ import annotations

import os
import sys

from wherry.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.session import Session

_FOLDERS = frozenset({"local"})
_IN_ENGINE = frozenset({"image", "registry"})
_ARTIFACT = "wasm-artifact"
"""A file where it is to go into one, else in the engine."""


class Output:
    """One --output: its type, and its further words."""

    def __init__(self, type: str, attrs: dict[str, str]) -> None:
        self.type = type
        self.attrs = attrs

    @property
    def is_fetched(self) -> bool:
        """Whether it is files of this machine."""
        if self.type == _ARTIFACT and not self.destination:
            return False
        return self.type not in _IN_ENGINE

    @property
    def destination(self) -> str:
        """Where the files go; "-" is stdout."""
        return self.attrs.get("dest", "")

    @property
    def is_stdout(self) -> bool:
        """Whether an archive of it goes to stdout."""
        return self.is_fetched and self.destination == "-"

    def document(self) -> dict[str, object]:
        """What the engine is told."""
        attrs = {key: value for key, value in self.attrs.items() if key != "dest"}
        if self.type == _ARTIFACT and self.is_fetched:
            attrs["dest"] = "-"  # It is not to be kept in the image's place.
        return {"Type": self.type, "Attrs": attrs}


def parse_output(text: str) -> Output:
    """`type=TYPE[,dest=PATH][,…]`, or a folder, or "-" for a tar on stdout."""
    if "=" not in text:
        return Output("tar", {"dest": "-"}) if text == "-" else Output("local", {"dest": text})
    attrs = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise CommandError(f"--output {text}: {field!r} is not of the form key=value")
        attrs[key.strip().lower()] = value
    if "destination" in attrs:
        attrs["dest"] = attrs.pop("destination")
    output = Output(attrs.pop("type", ""), attrs)
    if not output.type:
        raise CommandError(f"--output {text}: type=… is missing")
    if not output.is_fetched:
        return output
    if output.type in _FOLDERS and output.destination in ("", "-"):
        raise CommandError(f"--output {text}: dest=FOLDER is missing")
    if not output.destination:
        attrs["dest"] = "-"
    if output.is_stdout and os.isatty(1):
        raise CommandError(
            "an archive is nothing for a terminal; use dest=FILE, or redirect stdout"
        )
    return output


def fetch(
    session: Session, identity: str, output: Output, names: list[str], *, forget: bool
) -> None:
    """Fetch what `output` wants of the image that was built under `names`."""
    further = [name for name in output.attrs.get("name", "").split(",") if name]
    query = {
        "id": identity,
        "type": output.type,
        "t": names + further,
        "forget": forget,
    }
    response = session.client.request("GET", "/build/output", query)
    if output.type in _FOLDERS or output.attrs.get("tar") == "false":
        from wherry.client.unpack import unpack

        place = os.path.realpath(output.destination)
        os.makedirs(place, exist_ok=True)
        mode = os.stat(place).st_mode
        unpack(iter(response), place, complain=session.complain)
        # A folder that was there is still its owner's.
        os.chmod(place, mode & 0o7777)
        os.utime(place)
        return
    if output.is_stdout:
        from wherry.cli.terminal import write_all

        sys.stdout.flush()
        for data in response:
            write_all(1, data)
        return
    from wherry.cli.new_file import write_file

    write_file(output.destination, response)
