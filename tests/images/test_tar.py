"""Our tar against tarfile's, both ways, and against garbage."""

import io
import os
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.images.tar import Entry, InvalidTar, Kind, TarReader, TarWriter

NANOSECONDS = 1_000_000_000
FILE_KINDS = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.HARDLINK: tarfile.LNKTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
}
names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=180
).filter(lambda name: not name.endswith("/"))
entries = st.builds(
    Entry,
    name=names,
    kind=st.sampled_from([*FILE_KINDS]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 2),
    gid=st.integers(0, (1 << 32) - 2),
    mtime=st.integers(-(1 << 35), 1 << 35).map(lambda seconds: seconds * NANOSECONDS),
)
archives = st.lists(st.tuples(entries, st.binary(max_size=1200)), max_size=4)


def written(members: list[tuple[Entry, bytes]]) -> bytes:
    out = io.BytesIO()
    tar = TarWriter(out)
    for entry, data in members:
        if entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
            entry.target = entry.name[::-1]
        if entry.kind is Kind.FILE:
            tar.file(entry, data)
        else:
            tar.add(entry)
    tar.finish()
    return out.getvalue()


def read(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(data))
    found = []
    for entry in reader:
        content = b""
        while part := reader.read(700):
            content += part
        found.append((entry, content))
    return found


@given(archives)
def test_what_we_write_tarfile_reads(members: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(members))) as tar:
        found = tar.getmembers()
        assert len(found) == len(members)
        for info, (entry, data) in zip(found, members, strict=True):
            assert info.name == entry.name
            assert info.type == FILE_KINDS[entry.kind]
            assert (info.mode, info.uid, info.gid) == (entry.mode, entry.uid, entry.gid)
            assert info.mtime == entry.mtime // NANOSECONDS
            assert info.linkname == entry.target
            if entry.kind is Kind.FILE:
                file = tar.extractfile(info)
                assert file
                assert file.read() == data


@given(archives)
def test_what_we_write_we_read(members: list[tuple[Entry, bytes]]) -> None:
    for (found, content), (entry, data) in zip(read(written(members)), members, strict=True):
        found.name = found.name.removesuffix("/") if found.kind is Kind.DIRECTORY else found.name
        assert found == entry
        assert content == (data if entry.kind is Kind.FILE else b"")


@given(archives, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_what_tarfile_writes_we_read(members: list[tuple[Entry, bytes]], kind: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for entry, data in members:
            info = tarfile.TarInfo(entry.name)
            info.type, info.mode = FILE_KINDS[entry.kind], entry.mode
            info.uid, info.gid, info.mtime = entry.uid, entry.gid, entry.mtime // NANOSECONDS
            info.size = len(data) if entry.kind is Kind.FILE else 0
            info.linkname = entry.name if entry.kind in (Kind.SYMLINK, Kind.HARDLINK) else ""
            tar.addfile(info, io.BytesIO(data))
    for (found, content), (entry, data) in zip(read(out.getvalue()), members, strict=True):
        assert found.name.rstrip("/") == entry.name.rstrip("/")
        assert (found.kind, found.mode) == (entry.kind, entry.mode)
        assert (found.uid, found.gid, found.mtime) == (entry.uid, entry.gid, entry.mtime)
        assert content == (data if entry.kind is Kind.FILE else b"")


@given(st.binary(max_size=3000))
def test_garbage_ends_in_an_error_or_nothing(data: bytes) -> None:
    try:
        read(data)
    except InvalidTar as error:
        assert "\n" not in str(error)


@given(archives.filter(bool), st.data())
def test_damage_ends_in_an_error_or_another_archive(
    members: list[tuple[Entry, bytes]], data: st.DataObject
) -> None:
    archive = bytearray(written(members))
    for _ in range(3):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(archive))
    except InvalidTar as error:
        assert "\n" not in str(error)


@given(archives.filter(bool), st.data())
def test_an_archive_cut_short_is_told(
    members: list[tuple[Entry, bytes]], data: st.DataObject
) -> None:
    archive = written(members)
    cut = data.draw(st.integers(1, len(archive) - 1025))
    with suppress(InvalidTar):
        assert len(read(archive[:cut])) < len(members) or cut % 512 == 0


def test_the_same_entries_give_the_same_bytes() -> None:
    def archive() -> bytes:
        entry = Entry("a" * 150, mtime=-NANOSECONDS, xattrs={"user.b": b"1", "user.a": b"\0\n="})
        return written([(entry, b"data")])

    assert archive() == archive()


def test_attributes_with_any_bytes_come_back() -> None:
    value = bytes(range(256))
    [(entry, _)] = read(written([(Entry("f", xattrs={"user.x": value}), b"")]))
    assert entry.xattrs == {"user.x": value}


def test_a_name_cut_off_behind_a_slash_is_no_folders() -> None:
    name, out = "d/" * 60 + "file", io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = 7
        tar.addfile(info, io.BytesIO(b"content"))
    ((entry, content),) = read(out.getvalue())
    assert (entry.name, entry.kind, content) == (name, Kind.FILE, b"content")


def test_undecodable_names_come_back() -> None:
    for name in ("caf\udce9", "x" * 200 + "\udcff"):
        [(entry, _)] = read(written([(Entry(name), b"")]))
        assert entry.name == name


def test_fractions_of_a_second_are_read() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("f")
        info.pax_headers = {"mtime": "12.5"}
        tar.addfile(info)
    assert read(out.getvalue())[0][0].mtime == 12_500_000_000


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=gnu", "--sparse"],
        ["--format=pax", "--sparse"],
        ["--format=pax", "--sparse", "--sparse-version=0.0"],
        ["--format=pax", "--sparse", "--sparse-version=0.1"],
    ],
)
def test_what_gnu_tar_writes_is_read(tmp_path: Path, options: list[str]) -> None:
    with open(tmp_path / "many", "wb") as file:
        for part in range(60):
            file.seek(part << 16)
            file.write(b"x" * (part + 1))
    name = "long" * 50
    (tmp_path / name).write_bytes(b"long")
    made = subprocess.run(
        ["tar", "-c", *options, "-C", str(tmp_path), "many", name], capture_output=True, check=True
    )
    reader = TarReader(io.BytesIO(made.stdout))
    entry = reader.next()
    assert entry and entry.name == "many"
    assert entry.size == (tmp_path / "many").stat().st_size
    content = bytearray(entry.size)
    for offset, length in entry.extents or [(0, entry.size)]:
        done = 0
        while done < length:
            data = reader.read(length - done)
            content[offset + done : offset + done + len(data)] = data
            done += len(data)
    assert content == (tmp_path / "many").read_bytes()
    last = reader.next()
    assert last and last.name == name


def pax(*records: bytes) -> bytes:
    body = b"".join(records)
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(body)
    return info.tobuf() + body + bytes(-len(body) % 512) + tarfile.TarInfo("f").tobuf()


@pytest.mark.parametrize(
    "records",
    [
        b"x",
        b"5 a=b\n",
        b"99999 a=b\n",
        b"-6 a=b\n",
        b"0 a=b\n",
        b"6 a b\n",
        b"6 a=bc",
        b"12 path=a\0b\n",
        b"12 size=-10\n",
        b"12 size=1e9\n",
        b"30 size=99999999999999999999\n",
        b"12 mtime=1:0\n",
        b"20 uid=99999999999\n",
        b"21 GNU.sparse.map=1\n",
        b"22 GNU.sparse.major=1\n",
    ],
)
def test_broken_pax_headers_are_told(records: bytes) -> None:
    with pytest.raises(InvalidTar):
        read(pax(records))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_records_that_cost_every_entry_are_few(kind: bytes) -> None:
    body = b"".join(b"11 k%05d=\n" % number for number in range(1000))
    info = tarfile.TarInfo("pax")
    info.type, info.size = kind, len(body)
    header = info.tobuf() + body + bytes(-len(body) % 512)
    with pytest.raises(InvalidTar, match="records in pax headers"):
        read(header + tarfile.TarInfo("f").tobuf())
    few = b"".join(b"11 k%05d=\n" % number for number in range(500, 540))
    info.size = len(few)
    again = info.tobuf() + few + bytes(-len(few) % 512)
    assert len(read(again * 3 + tarfile.TarInfo("f").tobuf())) == 1


def test_an_extension_header_of_absurd_size_is_not_read() -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert self.given < 1 << 20, "it was read"
            self.given += size
            return (info.tobuf() + bytes(size))[:size]

    with pytest.raises(InvalidTar, match="extension header of"):
        TarReader(Endless()).next()


def test_numbers_in_base_256_are_read() -> None:
    info = tarfile.TarInfo("f")
    info.uid, info.mtime = 1 << 30, -7
    data = info.tobuf(format=tarfile.GNU_FORMAT) + bytes(1024)
    [(entry, _)] = read(data)
    assert (entry.uid, entry.mtime) == (1 << 30, -7 * NANOSECONDS)


def test_unknown_kinds_are_passed_over() -> None:
    info = tarfile.TarInfo("odd")
    info.type, info.size = b"Z", 700
    data = info.tobuf() + os.urandom(1024) + tarfile.TarInfo("f").tobuf() + bytes(1024)
    assert [entry.name for entry, _ in read(data)] == ["f"]
