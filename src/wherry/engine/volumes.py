"""Volumes: folders that outlive the containers that use them.

The folder `volumes/NAME/_data` is the volume: one that is found without a record is taken in, so
that nothing a person stored is ever lost with the engine's file. Records are made before folders;
a volume that is to go is first marked so in its record, and the record goes last.
"""

import asyncio
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from secrets import token_hex

from wherry.disk import below
from wherry.engine.clock import timestamp
from wherry.engine.errors import Conflict, InvalidRequest, NotFound
from wherry.engine.events import Events
from wherry.engine.filters import Filters
from wherry.engine.inspection import Volume, VolumePruneReport, VolumeUsage
from wherry.engine.state import State, VolumeRow
from wherry.engine.trash import Trash

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
"""What a volume may be called."""

ANONYMOUS = "com.docker.volume.anonymous"
"""The label of a volume that no person named."""


_Volumes = list[Volume]


class Volumes:
    """All volumes of the engine."""

    def __init__(self, path: Path, state: State, events: Events, trash: Trash) -> None:
        self._path = path
        self._state = state
        self._events = events
        self._trash = trash
        self._rows: dict[str, VolumeRow] = {}
        self._users: defaultdict[str, set[str]] = defaultdict(set)
        self.filling = asyncio.Lock()
        """Held while new volumes get what their image has."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)  # What containers write may be set-id programs.

    def recover(self) -> None:
        """Read what is there, and drop the volumes of containers that never came to be."""
        self._rows = {row.name: row for row in self._state.volumes()}
        self._forget([row.name for row in self._rows.values() if row.pending is not None])
        found = {entry.name for entry in os.scandir(self._path) if entry.is_dir()}
        strangers = [
            VolumeRow(name=name, created=time.time_ns(), labels={})
            for name in found - self._rows.keys()
            if VOLUME_NAME.fullmatch(name) and (self._path / name / "_data").is_dir()
        ]
        self._state.add_volumes(strangers)
        self._rows |= {row.name: row for row in strangers}
        for name in self._rows.keys() - found:
            self._make_folder(name)
        for name in found:
            self._trash.discard(self.unfinished(name))

    def path(self, name: str) -> Path:
        """The folder that is mounted."""
        return self._path / name / "_data"

    def unfinished(self, name: str) -> Path:
        """The folder in which the volume is filled."""
        return self._path / name / "_new"

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or return the one of that name; without a name, one of 64 hex digits.

        Raises InvalidRequest.
        """
        if driver not in ("", "local"):
            raise NotFound(f'plugin "{driver}" not found: the only volume driver is local')
        if options:
            raise InvalidRequest(f"invalid option: {next(iter(options))!r}: volumes have none")
        if name and not VOLUME_NAME.fullmatch(name):
            raise InvalidRequest(
                f'create {name[:100]}: "{name[:100]}" includes invalid characters for a local '
                'volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to '
                "pass a host directory, use absolute path"
            )
        if name not in self._rows:
            labels = dict(labels or {})
            if not name:
                labels[ANONYMOUS] = ""
            row = VolumeRow(name=name or token_hex(32), created=time.time_ns(), labels=labels)
            self._add([row])
            name = row.name
        return self._describe(self._rows[name])

    def create_anonymous(self, count: int, container: str) -> list[str]:
        """Make volumes for a container that is being made; they go if it does not come to be."""
        rows = [
            VolumeRow(
                name=token_hex(32),
                created=time.time_ns(),
                labels={ANONYMOUS: ""},
                pending=container,
            )
            for _ in range(count)
        ]
        if rows:
            self._add(rows)
        return [row.name for row in rows]

    def settle(self, container: str, names: Iterable[str]) -> None:
        """A container uses these volumes now, and is there."""
        for name in names:
            self._users[name].add(container)
            if row := self._rows.get(name):
                row.pending = None

    def release(self, container: str, names: Iterable[str]) -> None:
        """A container that used these volumes is gone."""
        for name in names:
            users = self._users[name]
            users.discard(container)
            if not users:
                del self._users[name]

    def users(self, name: str) -> set[str]:
        """The ids of the containers that use a volume."""
        return self._users.get(name, set())

    def is_anonymous(self, name: str) -> bool:
        """Whether nobody named it."""
        row = self._rows.get(name)
        return row is not None and ANONYMOUS in row.labels

    def discard(self, names: Sequence[str]) -> None:
        """Remove volumes that are marked in the engine's file as belonging to nobody."""
        self._forget([name for name in names if name in self._rows])

    def discard_pending(self, container: str) -> None:
        """Remove what was made for a container that did not come to be."""
        self._forget([row.name for row in self._rows.values() if row.pending == container])

    def get(self, name: str) -> Volume:
        """Raises NotFound."""
        return self._describe(self._find(name))

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Raises NotFound (unless `force`), Conflict (a container uses it)."""
        if force and name not in self._rows:
            return
        self._find(name)
        if users := self.users(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(sorted(users))}]")
        self._state.doom_volumes([name])
        self._forget([name])

    async def prune(self, filters: Filters | None = None) -> VolumePruneReport:
        """Remove unused anonymous volumes; with the filter all=true, named ones too."""
        filters = filters or Filters()
        filters.check(("all", "label", "label!", "until"))
        everything = filters.flag("all") or False
        before = filters.until()
        doomed = [
            row.name
            for row in self._rows.values()
            if row.name not in self._users
            and row.pending is None
            and (everything or ANONYMOUS in row.labels)
            and filters.accepts_labels(row.labels)
            and not filters.rejects_labels(row.labels)
            and (before is None or row.created < before.timestamp() * 1e9)
        ]
        sizes = await asyncio.to_thread(lambda: [below(self.path(name)) for name in doomed])
        # What somebody began to use meanwhile stays.
        doomed = [name for name in doomed if name not in self._users and name in self._rows]
        self._state.doom_volumes(doomed)
        self._forget(doomed)
        reclaimed = sum(sizes)
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return VolumePruneReport(volumes_deleted=doomed, space_reclaimed=reclaimed)

    async def usage(self) -> _Volumes:
        """All volumes with `usage_data` counted (for `system df`)."""
        rows = sorted(self._rows.values(), key=lambda row: row.name)
        sizes = await asyncio.to_thread(lambda: [below(self.path(row.name)) for row in rows])
        volumes = []
        for row, size in zip(rows, sizes, strict=True):
            volume = self._describe(row)
            volume.usage_data = VolumeUsage(size=size, ref_count=len(self.users(row.name)))
            volumes.append(volume)
        return volumes

    def list(self, filters: Filters | None = None) -> list[Volume]:
        """By name. Filters: dangling, driver, label, name. Raises InvalidRequest."""
        filters = filters or Filters()
        filters.check(("dangling", "driver", "label", "name"))
        dangling = filters.flag("dangling")
        return [
            self._describe(row)
            for row in sorted(self._rows.values(), key=lambda row: row.name)
            if (dangling is None or dangling == (row.name not in self._users))
            and filters.accepts("driver", "local")
            and filters.accepts_labels(row.labels)
            and ("name" not in filters or any(part in row.name for part in filters.get("name")))
        ]

    def _add(self, rows: Sequence[VolumeRow]) -> None:
        self._state.add_volumes(rows)
        for row in rows:
            self._make_folder(row.name)
            self._rows[row.name] = row
            self._events.publish("volume", "create", row.name, {"driver": "local"})

    def _forget(self, names: Sequence[str]) -> None:
        if not names:
            return
        for name in names:
            self._trash.discard(self._path / name)
        self._state.remove_volumes(names)
        for name in names:
            self._rows.pop(name, None)
            self._users.pop(name, None)
            self._events.publish("volume", "destroy", name, {"driver": "local"})

    def _make_folder(self, name: str) -> None:
        folder = self._path / name
        folder.mkdir(mode=0o701, exist_ok=True)
        (folder / "_data").mkdir(mode=0o755, exist_ok=True)
        (folder / "_data").chmod(0o755)

    def _find(self, name: str) -> VolumeRow:
        row = self._rows.get(name)
        if row is None:
            raise NotFound(f"get {name}: no such volume")
        return row

    def _describe(self, row: VolumeRow) -> Volume:
        return Volume(
            name=row.name,
            mountpoint=str(self.path(row.name)),
            created_at=timestamp(row.created),
            labels=row.labels,
        )
