"""The cache of compiled code: what it trusts and what it does not."""

import os
import shutil
import threading
from pathlib import Path

import pytest
from tests.runtime.bundles import WASI_HELLO

from wherry.runtime import LaunchError, code
from wherry.runtime.code import CodeCache, CompiledCode
from wherry.runtime.sandbox import syscalls


@pytest.fixture
def module(tmp_path: Path) -> int:
    path = tmp_path / "hello.wat"
    path.write_text(WASI_HELLO)
    # Long unchanged, so that its digest is remembered.
    os.utime(path, ns=(0, 0))
    return os.open(path, os.O_RDONLY)


def _content(code: CompiledCode) -> bytes:
    with open(code.descriptor, "rb") as file:
        return file.read()


def _code_file(cache: CodeCache) -> Path:
    (path,) = (p for p in Path(cache.root).rglob("*") if p.is_file() and len(p.name) == 64)
    return path


def test_code_is_compiled_once(tmp_path: Path, module: int) -> None:
    cache = CodeCache(tmp_path / "cache")
    first = _content(cache.get(module, "hello"))
    file = _code_file(cache)
    written = file.stat().st_mtime_ns
    assert _content(cache.get(module, "hello")) == first
    assert file.stat().st_mtime_ns == written
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.stat(cache.root).st_mode & 0o777 == 0o700


def test_two_at_once_compile_once(tmp_path: Path, module: int) -> None:
    cache = CodeCache(tmp_path / "cache")
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(_content(cache.get(module, "hello"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 4
    assert _code_file(cache)


def test_a_cache_that_was_removed_is_made_anew(
    tmp_path: Path, module: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "_SETTLED", 0)
    maker, reader = CodeCache(tmp_path / "cache"), CodeCache(tmp_path / "cache")
    first = _content(maker.get(module, "hello"))
    known = reader.peek(module)
    assert known is not None and _content(known) == first
    for cache in (maker, reader):
        shutil.rmtree(tmp_path / "cache")
        assert cache.peek(module) is None
        assert _content(maker.get(module, "hello")) == first
        known = reader.peek(module)
        assert known is not None and _content(known) == first


@pytest.mark.parametrize("tamper", ["replace", "append", "mode"])
def test_a_file_that_was_tampered_with_is_compiled_anew(
    tmp_path: Path, module: int, tamper: str
) -> None:
    cache = CodeCache(tmp_path / "cache")
    good = _content(cache.get(module, "hello"))
    file = _code_file(cache)
    if tamper == "replace":
        other = tmp_path / "other"
        other.write_bytes(b"x" * len(good))
        other.chmod(0o600)
        other.rename(file)
    elif tamper == "append":
        with file.open("ab") as out:
            out.write(b"x")
    else:
        file.chmod(0o666)
    assert _content(cache.get(module, "hello")) == good


def test_a_torn_record_is_no_record(tmp_path: Path, module: int) -> None:
    cache = CodeCache(tmp_path / "cache")
    good = _content(cache.get(module, "hello"))
    record = _code_file(cache).with_name(_code_file(cache).name + ".json")
    record.write_bytes(record.read_bytes()[:20])
    assert _content(cache.get(module, "hello")) == good


def test_a_module_that_is_not_valid_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.wasm"
    path.write_bytes(b"\0asm\1\0\0\0\xff\xff")
    cache = CodeCache(tmp_path / "cache")
    with path.open("rb") as module, pytest.raises(LaunchError) as failure:
        cache.get(module.fileno(), "bad.wasm")
    assert failure.value.exit_code == 126
    assert failure.value.message.startswith("bad.wasm: ")
    assert not [
        p for p in Path(cache.root).rglob("*") if p.is_file() and not p.name.endswith(".lock")
    ]


def test_a_file_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "hello.wat"
    path.write_text(WASI_HELLO)
    cache = CodeCache(tmp_path / "cache")
    with path.open("rb") as module:
        _content(cache.get(module.fileno(), "hello"))
        assert cache.peek(module.fileno()) is None


def test_code_is_kept_under_the_digest_of_what_was_compiled(tmp_path: Path) -> None:
    """Else whoever changes a module at the right moment gives everybody's containers its code."""
    path = tmp_path / "changing.wat"
    path.write_text(WASI_HELLO)
    other = WASI_HELLO.replace("hello", "HELLO")

    class Unlucky(CodeCache):
        def _digest(self, module: int) -> str:
            digest = super()._digest(module)
            path.write_text(other)
            return digest

    cache = Unlucky(tmp_path / "cache")
    with path.open("rb") as module, pytest.raises(LaunchError, match="changed while"):
        cache.get(module.fileno(), "changing.wat")
    assert not [p for p in Path(cache.root).rglob("*") if len(p.name) == 64]


@pytest.mark.root
def test_no_code_is_open_by_a_way_on_which_it_could_be_written(tmp_path: Path, module: int) -> None:
    cache = CodeCache(tmp_path / "cache")
    for _ in ("compiled", "found"):
        code = cache.get(module, "hello")
        with pytest.raises(OSError, match="Read-only"):
            os.open(f"/proc/self/fd/{code.descriptor}", os.O_WRONLY)
        os.close(code.descriptor)


def test_a_file_system_of_another_kind_cannot_pass_its_files_for_known_ones(
    tmp_path: Path, module: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who serves a volume says himself what inode and times its files have."""
    monkeypatch.setattr(code, "_SETTLED", -1)
    cache = CodeCache(tmp_path / "cache")
    os.close(cache.get(module, "hello").descriptor)
    known = cache.peek(module)
    assert known is not None
    os.close(known.descriptor)
    monkeypatch.setattr(syscalls, "fstatfs_type", lambda descriptor: 0x6969)
    assert cache.peek(module) is None
