"""`inspect --wasm` and what else looks into modules: files here by the CLI itself, images by the
engine."""

from __future__ import annotations

import os

from wherry.cli.errors import CommandError
from wherry.client import DaemonError, json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.session import Session

_ENDINGS = (".wasm", ".wat")


def is_file(word: str) -> bool:
    """Whether a person means a file of theirs: a path, or a name with a module's ending.

    Raises CommandError for a path where there is none.
    """
    is_path = word.startswith(("./", "../", "/"))
    if os.path.isfile(word) and (is_path or word.endswith(_ENDINGS)):
        return True
    if is_path:
        raise CommandError(f"{word}: no such file", 127)
    return False


def show_wasm(session: Session, words: list[str], layout: str, platform: str = "") -> int:
    """Print what is inside of files and images; the exit code.

    `platform` is a platform of images, as the API takes it. Raises CommandError, TemplateError.
    """
    found: list[Any] = []

    def add(word: str) -> None:
        found.append(_of_file(word) if is_file(word) else _of_image(session, word, platform))

    failed = session.for_each(words, add)
    if layout in ("json", "") and not found:
        return failed
    if layout == "json":
        session.write_line(json.encode(found))
    elif layout:
        from wherry.cli.listing import unescape
        from wherry.cli.template import Template

        template = Template(unescape(layout))
        for document in found:
            session.write_line(template.render(document))
    else:
        from wherry.cli.anatomy import render

        session.write("\n".join(map(render, found)))
    return failed


def ask(session: Session, path: str, query: dict[str, str]) -> bytes:
    """What wherryd alone can answer. Raises ClientError, CommandError for another engine."""
    try:
        return session.client.request("GET", path, query).read()
    except DaemonError as error:
        if error.is_unknown_call:
            hint = "only wherryd does; a .wasm file is looked into without any engine"
            raise CommandError(f"this engine does not look into images: {hint}") from None
        raise


def _of_image(session: Session, name: str, platform: str) -> Any:
    query = {"platform": platform} if platform else {}
    return json.decode(ask(session, f"/images/{name}/wasm", query))


def _of_file(path: str) -> Any:
    import msgspec

    from wherry import programs, wasm

    try:
        with open(path, "rb") as file:
            anatomy = wasm.dissect(file, wasm.Machine(has_command=bool(programs.wasmtime())))
    except wasm.InvalidWasm as error:
        raise CommandError(f"{path}: {error}", 126) from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", 126) from None
    return json.decode(msgspec.json.encode(msgspec.structs.replace(anatomy, path=path)))
