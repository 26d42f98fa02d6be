"""Drafting what a target needs: links, files, members of JSON files, lines of TOML files.

Each addition is drafted and entered into the ledger in one go, and is nothing where the machine
has it already. What is there and is not wherry's is never overwritten.
"""

import hashlib
import os
from typing import Any

import msgspec

from wherry.install.draft import Draft
from wherry.install.errors import InstallError
from wherry.install.json_text import InvalidJson, read_object, set_member
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
from wherry.install.toml_text import CannotAdd, InvalidToml, add_block, add_import, read_toml

_BACKUP = ".before-wherry"


def sha256(content: bytes) -> str:
    """A digest as the ledger keeps it."""
    return hashlib.sha256(content).hexdigest()


class Additions:
    """What one target (`owner`) adds to a machine."""

    def __init__(self, draft: Draft, ledger: Ledger, owner: str, *, force: bool = False) -> None:
        self.draft = draft
        self.ledger = ledger
        self._owner = owner
        self._force = force

    def link(self, path: str, target: str, *, yielding: bool = False) -> None:
        """A symbolic link. Raises InstallError when something else has its name.

        A `yielding` one never takes the place of anything, whatever a person forces.
        """
        known = self.ledger.find(Link, path)
        now = self.draft.read_link(path)
        if now is None and self.draft.exists(path):
            raise InstallError(f"{path}: is there already, and not wherry's; move it away first")
        if now is not None and now != target:
            ours = any(isinstance(entry, Link) and entry.target == now for entry in known)
            dangling = not self.draft.host.exists(self.draft.host.resolve(path))
            if not ours and (yielding or (not dangling and not self._force)):
                raise InstallError(
                    f"{path}: links to {now}, which wherry did not put there; "
                    f"remove it{'' if yielding else ', or say --force'}"
                )
        self._folder_of(path)
        self.draft.link(path, target)
        self._enter(Link(path=path, owners=[], target=target), known)

    def file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """A file of wherry's own. Raises InstallError when a person changed it, or made it."""
        known = self.ledger.find(OwnFile, path)
        before = self.draft.read(path)
        digests = [entry.sha256 for entry in known if isinstance(entry, OwnFile)]
        if before not in (None, content) and not self._force:
            assert before is not None
            if not known:
                raise InstallError(f"{path}: is there already, and not wherry's; say --force")
            if sha256(before) not in digests:
                raise InstallError(
                    f"{path}: was changed since wherry wrote it; --force overwrites it"
                )
        if before == content and not known:
            return
        self._folder_of(path)
        self.draft.write(path, content, mode=mode)
        self._enter(OwnFile(path=path, owners=[], sha256=sha256(content)), known)

    def json_member(self, path: str, keys: tuple[str, ...], value: Any) -> bool:
        """A member of a JSON file; whether it had to be set. Raises InstallError."""
        content = self.draft.read(path)
        text = self._text(path, content)
        whole = text.strip() != ""
        try:
            now: Any = read_object(text) if whole else {}
        except InvalidJson as error:
            raise InstallError(f"{path}: {error}; repair it first, nothing was changed") from None
        members = [e for e in self.ledger.find(JsonMember, path) if isinstance(e, JsonMember)]
        known = [member for member in members if tuple(member.keys) == keys]
        for key in keys:
            now = now.get(key) if isinstance(now, dict) else None
        if now == value and type(now) is type(value):
            if known:
                self._enter(known[0], list(known))
            return False
        try:
            changed, insertion = set_member(text if whole else "{}\n", keys, value)
        except InvalidJson as error:
            raise InstallError(f"{path}: {error}; repair it first, nothing was changed") from None
        if content is not None:
            self._back_up(path, content)
        self._folder_of(path)
        self.draft.write(path, changed.encode())
        entry = JsonMember(
            path=path,
            owners=[],
            keys=list(keys),
            value=msgspec.Raw(msgspec.json.encode(value)),
            replaced=insertion.replaced,
            existing=insertion.existing,
            blank=insertion.blank,
            made_file=content is None or any(member.made_file for member in members),
            empty=None if whole or content is None else text,
        )
        self._enter(entry, list(known))
        return True

    def toml_block(self, path: str, block: str, expected: dict[str, Any], *, what: str) -> None:
        """Tables at the end of a TOML file, which says `expected` then. Raises InstallError."""
        content = self.draft.read(path)
        try:
            changed, added = add_block(self._text(path, content), block, expected)
        except CannotAdd as error:
            raise _by_hand(path, what, error) from None
        self._change_toml(path, content, changed, added)

    def toml_import(self, path: str, pattern: str) -> None:
        """One more import of containerd's configuration. Raises InstallError."""
        content = self.draft.read(path)
        try:
            changed, added = add_import(self._text(path, content), pattern)
        except InvalidToml as error:
            raise InstallError(f"{path}: {error}; repair it first, nothing was changed") from None
        except CannotAdd as error:
            raise _by_hand(path, f'imports = ["{pattern}"]', error) from None
        self._change_toml(path, content, changed, added)

    def toml_file(self, path: str, text: str) -> None:
        """A TOML file where there is none, which the person may add to."""
        self._change_toml(path, None, text, text)

    def _change_toml(self, path: str, before: bytes | None, changed: str, added: str) -> None:
        read_toml(changed.encode())
        # A crash may have left an entry of the same text; only one can be in the file.
        known = [
            entry
            for entry in self.ledger.find(TomlText, path)
            if isinstance(entry, TomlText) and entry.added.strip() == added.strip()
        ]
        if before is not None:
            self._back_up(path, before)
        self._folder_of(path)
        self.draft.write(path, changed.encode())
        entry = TomlText(path=path, owners=[], added=added, made_file=before is None)
        self._enter(entry, list(known))

    def keep(self, path: str) -> None:
        """Enter the target as one that needs what wherry has put into the TOML file before."""
        for entry in self.ledger.find(TomlText, path):
            self._enter(entry, [entry])

    def _back_up(self, path: str, content: bytes) -> None:
        """Copy a file beside itself before it is changed for the first time."""
        real = self.draft.host.resolve(path)
        for entry in self.ledger.entries:
            if isinstance(entry, Backup) and entry.path.startswith(real + _BACKUP):
                self._enter(entry, [entry])
                if entry.sha256 == sha256(content) and not self.draft.exists(entry.path):
                    self.draft.write(entry.path, content, mode=0o600, like=real)
                return
        ours = self.ledger.find(TomlText, path) + self.ledger.find(JsonMember, path)
        if ours and self.draft.host.read(path) is None:
            return  # drafted a moment ago
        place, number = real + _BACKUP, 0
        while self.draft.exists(place):
            number += 1
            place = f"{real}{_BACKUP}.{number}"
        self.draft.write(place, content, mode=0o600, like=real)
        self._enter(Backup(path=place, owners=[], sha256=sha256(content)), [])

    def _folder_of(self, path: str) -> None:
        folder = os.path.dirname(self.draft.host.resolve(path))
        for missing in self.draft.make_folders(folder):
            self._enter(Folder(path=missing, owners=[]), self.ledger.find(Folder, missing))
        for entry in self.ledger.entries:
            if isinstance(entry, Folder) and f"{folder}/".startswith(f"{entry.path}/"):
                self._enter(entry, [entry])

    def _enter(self, entry: Entry, known: list[Entry]) -> None:
        """Put an entry in the place of those it replaces, or behind all others."""
        owners = {owner for old in known for owner in old.owners} | {self._owner}
        entry.owners = sorted(owners)
        entries = self.ledger.entries
        if known:
            entries[entries.index(known[0])] = entry
            for old in known[1:]:
                entries.remove(old)
        else:
            entries.append(entry)

    def _text(self, path: str, content: bytes | None) -> str:
        try:
            return (content or b"").decode()
        except UnicodeDecodeError:
            raise InstallError(f"{path}: no UTF-8; repair it first, nothing was changed") from None


def _by_hand(path: str, what: str, error: CannotAdd) -> InstallError:
    return InstallError(f"{path}: cannot be added to ({error}); add this by hand: {what}")
