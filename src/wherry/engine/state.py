"""What the engine remembers: one SQLite file.

The file is in WAL mode with synchronous=NORMAL. A commit then only appends to the log, without
fsync (0.15 ms instead of 1.5): a process killed at any moment loses nothing, because the kernel
has the pages; a power cut may take back the last moments, and no container outlives that anyway.
A change of state is one transaction each.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from wherry.disk import Reserve
from wherry.engine.errors import EngineError
from wherry.engine.record import Life, NetworkRecord, Record

_VERSIONS = (
    """
CREATE TABLE container (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL, life BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE volume (
    name TEXT PRIMARY KEY, created INTEGER NOT NULL, labels BLOB NOT NULL, pending TEXT
) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
""",
    # Containers made before there were networks are in the one that their mode names.
    """
CREATE TABLE network (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL
) WITHOUT ROWID;
UPDATE container SET record = CAST(json_set(
    CAST(record AS TEXT), '$.host.NetworkMode', 'bridge', '$.networks', json('{"bridge":{}}')
) AS BLOB) WHERE json_extract(CAST(record AS TEXT), '$.host.NetworkMode') <> 'none';
UPDATE container SET record = CAST(json_set(
    CAST(record AS TEXT), '$.networks', json('{"none":{}}')
) AS BLOB) WHERE json_extract(CAST(record AS TEXT), '$.host.NetworkMode') = 'none';
""",
)
"""What each version of the file adds to the one before."""

_record = msgspec.json.Decoder(Record)
_life = msgspec.json.Decoder(Life)
_network = msgspec.json.Decoder(NetworkRecord)
_labels = msgspec.json.Decoder(dict[str, str])

_Statement = tuple[str, tuple[object, ...]]
"""SQL and its values."""
_DOCUMENTS: dict[str, tuple[msgspec.json.Decoder[Any], ...]] = {
    "SELECT 'container ' || name, record, life FROM container": (_record, _life),
    "SELECT 'volume ' || name, labels FROM volume": (_labels,),
    "SELECT 'network ' || name, record FROM network": (_network,),
}
"""What the file holds as JSON: of each row who it is of, and the documents."""


class VolumeRow(msgspec.Struct, kw_only=True):
    """A volume as it is kept. `created` is in nanoseconds since the epoch.

    `pending` is the container that is being made with this volume, or empty while the volume is
    being removed: a volume that has it when the engine starts goes.
    """

    name: str
    created: int
    labels: dict[str, str]
    pending: str | None = None


class State:
    """The open file. Blocking, and fast enough to be used from the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owed: dict[str, bytes] = {}
        """How containers are, where that could not be written."""
        self._gone: list[_Statement] = []
        """What forgets things that are no more, where that could not be written."""
        self._reserve = Reserve(path.with_suffix(".reserve"))
        # Variables of containers are in it; what SQLite puts beside it has the mode of the file.
        path.touch(mode=0o600)
        try:
            self._db = _opened(path)
        except sqlite3.OperationalError:
            # On a full disk there is no room for what SQLite puts beside its file.
            self._reserve.release()
            try:
                self._db = _opened(path)
            except sqlite3.OperationalError as error:
                raise EngineError(
                    f"the engine cannot open {path}: {error}: see that its disk is not full"
                ) from None
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(_VERSIONS):
            self._db.close()
            raise EngineError(f"{path} was written by a newer wherry: update this one")
        if steps := "".join(_VERSIONS[version:]):
            self._db.executescript(
                f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={len(_VERSIONS)}; COMMIT;"
            )

    def close(self) -> None:
        """Close the file."""
        if self._owed or self._gone:
            with suppress(EngineError):
                self._write()
        self._db.close()

    def faults(self) -> Iterator[str]:
        """What of the file is damaged, a line each."""
        try:
            for (said,) in self._db.execute("PRAGMA quick_check"):
                if said != "ok":
                    yield str(said)
            for query, decoders in _DOCUMENTS.items():
                for name, *documents in self._db.execute(query):
                    for decoder, document in zip(decoders, documents, strict=True):
                        try:
                            decoder.decode(document)
                        except msgspec.DecodeError as error:
                            yield f"{name}: {error}"
        except sqlite3.DatabaseError as error:
            yield str(error)

    def containers(self) -> Iterator[tuple[Record, Life]]:
        """All containers."""
        for record, life in self._db.execute("SELECT record, life FROM container"):
            yield _record.decode(record), _life.decode(life)

    def add_container(self, record: Record, life: Life) -> None:
        """Remember a new container; the volumes that were pending for it are now its own."""
        documents = (msgspec.json.encode(record), msgspec.json.encode(life))
        self._write(
            ("INSERT INTO container VALUES (?, ?, ?, ?)", (record.id, record.name, *documents)),
            ("UPDATE volume SET pending = NULL WHERE pending = ?", (record.id,)),
        )

    def save_record(self, record: Record) -> None:
        """Remember what a container is."""
        self._write(
            (
                "UPDATE container SET name = ?, record = ? WHERE id = ?",
                (record.name, msgspec.json.encode(record), record.id),
            )
        )

    def save_life(self, id: str, life: Life) -> None:
        """Remember how a container is."""
        self._write(_saving(id, msgspec.json.encode(life)))

    def note_life(self, id: str, life: Life) -> None:
        """As `save_life`, of what has happened whether it can be written or not.

        On a full disk it is written with the next change that can be.
        """
        self._owed[id] = msgspec.json.encode(life)
        with suppress(EngineError):
            self._write(gives_room=True)

    def remove_container(self, id: str, volumes: Sequence[str] = ()) -> None:
        """Forget a container, and mark `volumes` as belonging to nobody: they go next."""
        self._write(*_forgetting(id, volumes), gives_room=True)

    def note_removed(self, id: str, volumes: Sequence[str] = ()) -> None:
        """As `remove_container`, of one that goes whether it can be written or not.

        On a full disk it is written with the next change that can be.
        """
        self._owed.pop(id, None)
        self._note_gone(_forgetting(id, volumes))

    def doom_volumes(self, names: Sequence[str]) -> None:
        """Mark volumes as belonging to nobody, so that they go even if the engine is killed."""
        self._write(*_dooming(names), gives_room=True)

    def volumes(self) -> Iterator[VolumeRow]:
        """All volumes."""
        for name, created, labels, pending in self._db.execute("SELECT * FROM volume"):
            yield VolumeRow(
                name=name, created=created, labels=_labels.decode(labels), pending=pending
            )

    def add_volumes(self, rows: Sequence[VolumeRow]) -> None:
        """Remember new volumes."""
        self._write(
            *(
                (
                    "INSERT INTO volume VALUES (?, ?, ?, ?)",
                    (row.name, row.created, msgspec.json.encode(row.labels), row.pending),
                )
                for row in rows
            )
        )

    def remove_volumes(self, names: Sequence[str]) -> None:
        """Forget volumes that belong to nobody. On a full disk, with the next change."""
        self._note_gone([("DELETE FROM volume WHERE name = ?", (name,)) for name in names])

    def networks(self) -> Iterator[NetworkRecord]:
        """All networks."""
        for (record,) in self._db.execute("SELECT record FROM network"):
            yield _network.decode(record)

    def save_network(self, record: NetworkRecord) -> None:
        """Remember a network, a new one or one that has changed."""
        self._write(
            (
                "INSERT OR REPLACE INTO network VALUES (?, ?, ?)",
                (record.id, record.name, msgspec.json.encode(record)),
            )
        )

    def remove_network(self, id: str) -> None:
        """Forget a network."""
        self._write(("DELETE FROM network WHERE id = ?", (id,)), gives_room=True)

    def fact(self, name: str) -> str | None:
        """A remembered fact about the engine itself."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Remember a fact; on a full disk from the room that is kept, if need be."""
        remembering = ("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))
        self._write(remembering, gives_room=True)

    def _note_gone(self, forgetting: Sequence[_Statement]) -> None:
        self._gone += forgetting
        with suppress(EngineError):
            self._write(gives_room=True)

    def _write(self, *statements: _Statement, gives_room: bool = False) -> None:
        """All of it or nothing; what `gives_room` back may take what is kept for that.

        Raises EngineError when the disk is full or broken.
        """
        owed = [*(_saving(id, life) for id, life in self._owed.items()), *self._gone]
        try:
            try:
                self._transact([*owed, *statements])
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL or not gives_room:
                    raise
                self._reserve.release()
                self._transact([*owed, *statements])
        except sqlite3.OperationalError as error:
            raise EngineError(f"the engine cannot write {self._path}: {error}") from None
        self._owed.clear()
        self._gone.clear()
        self._reserve.take()

    def _transact(self, statements: Sequence[_Statement]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                self._db.execute(sql, values)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def _saving(id: str, life: bytes) -> _Statement:
    return "UPDATE container SET life = ? WHERE id = ?", (life, id)


def _forgetting(id: str, volumes: Sequence[str]) -> list[_Statement]:
    return [("DELETE FROM container WHERE id = ?", (id,)), *_dooming(volumes)]


def _dooming(names: Sequence[str]) -> list[_Statement]:
    return [("UPDATE volume SET pending = '' WHERE name = ?", (name,)) for name in names]
