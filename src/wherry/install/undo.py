"""Taking back what the ledger says wherry has put into a machine, and nothing else."""

import json

from wherry.install.additions import sha256
from wherry.install.draft import Draft
from wherry.install.json_text import Insertion, InvalidJson, read_object, unset_member
from wherry.install.ledger import (
    Backup,
    Entry,
    Folder,
    JsonMember,
    Ledger,
    Link,
    OwnFile,
    TomlText,
)
from wherry.install.toml_text import InvalidToml, cut, read_toml


def undo(draft: Draft, ledger: Ledger, owner: str, *, force: bool = False) -> list[str]:
    """Draft the removal of all that only `owner` needs, the last addition first.

    The ledger forgets it. Returns one line for each thing that was left, because a person has
    changed it since. With `force` wherry's own files go even then.
    """
    left: list[str] = []
    for entry in reversed(ledger.owned_by(owner)):
        if entry.owners != [owner]:
            entry.owners = [other for other in entry.owners if other != owner]
            continue
        complaint = undo_entry(draft, entry, force=force)
        if complaint:
            left.append(f"{entry.path}: {complaint}")
        ledger.entries.remove(entry)
    return left


def undo_entry(draft: Draft, entry: Entry, *, force: bool = False) -> str:
    """Draft the removal of one addition; what is left and why, or "". The ledger keeps it."""
    match entry:
        case Link():
            if draft.read_link(entry.path) == entry.target:
                draft.unlink(entry.path)
        case OwnFile() | Backup():
            content = draft.read(entry.path)
            if content is None:
                return ""
            if sha256(content) != entry.sha256 and not (force and isinstance(entry, OwnFile)):
                return "kept, because it was changed since wherry wrote it"
            draft.remove(entry.path)
        case Folder():
            draft.remove_folder(entry.path)
        case JsonMember():
            return _undo_member(draft, entry)
        case TomlText():
            return _undo_text(draft, entry)
    return ""


def _undo_member(draft: Draft, entry: JsonMember) -> str:
    content = draft.read(entry.path)
    if content is None:
        return ""
    insertion = Insertion(entry.replaced, entry.existing, entry.blank)
    try:
        text = content.decode()
        now: object = read_object(text)
        for key in entry.keys:
            now = now.get(key) if isinstance(now, dict) else None
        if now != json.loads(bytes(entry.value)):
            return ""  # gone, or the person's own by now
        text = unset_member(text, tuple(entry.keys), insertion)
        nothing = not read_object(text)
    except (InvalidJson, UnicodeDecodeError) as error:
        name = ".".join(entry.keys)
        return f"kept, because it cannot be read ({error}); take out {name} by hand"
    if nothing and entry.made_file:
        draft.remove(entry.path)
    elif nothing and entry.empty is not None:
        draft.write(entry.path, entry.empty.encode())
    else:
        draft.write(entry.path, text.encode())
    return ""


def _undo_text(draft: Draft, entry: TomlText) -> str:
    content = draft.read(entry.path)
    if content is None:
        return ""
    text = content.decode(errors="surrogateescape")
    without = cut(text, entry.added)
    if without is None:
        # The file may have been written anew without it; then there is nothing to do.
        if "wherry" not in text:
            return ""
        return "kept, because the lines about wherry were changed; take them out by hand"
    try:
        read_toml(without.encode(errors="surrogateescape"))
    except InvalidToml as error:
        return f"kept, because it would be {error} without the lines about wherry"
    if entry.made_file and not without.strip():
        draft.remove(entry.path)
    else:
        draft.write(entry.path, without.encode(errors="surrogateescape"))
    return ""
