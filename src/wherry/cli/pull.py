"""Pulling an image, its progress on stderr."""

from __future__ import annotations

import sys

from wherry.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.session import Session


def pull(session: Session, image: str, platform: str = "", *, quiet: bool = False) -> None:
    """Has the engine fetch an image. Raises `CommandError` with exit code 125."""
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag or "@" in image:
        name, tag = image, "" if "@" in image else "latest"
    query = {"fromImage": name, "tag": tag, "platform": platform}
    response = session.client.request("POST", "/images/create", query)
    for line in response.lines():
        if "error" in line:
            raise CommandError(str(line["error"]), 125)
        if (not quiet and "progressDetail" not in line) or line.get("progressDetail") == {}:
            prefix = f"{line['id']}: " if line.get("id") else ""
            sys.stderr.write(f"{prefix}{line.get('status', '')}\n")
