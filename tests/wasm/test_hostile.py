"""Whatever the bytes, `inspect` answers or raises InvalidWasm, and takes little memory."""

import io
import tracemalloc

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wasm.test_components import COMMAND
from tests.wasm.test_modules import HEAD, leb, name, section

from wherry import wasm

COMPONENT_HEAD = b"\0asm\x0d\0\1\0"

MODULE = """(module $named
  (rec (type (struct (field i8))) (type (array i16)))
  (type $f (func (param i32 (ref null func)) (result i64)))
  (import "wasi_snapshot_preview1" "fd_write" (func (type $f)))
  (import "a" "m" (memory i64 1 2)) (import "a" "t" (table 1 funcref))
  (import "a" "g" (global (mut i32))) (import "a" "e" (tag (param i32)))
  (func $run (export "_start")) (start $run)
  (data (i64.const 0) "some data")
  (@producers (language "C" "11") (processed-by "clang" "17"))
)"""

REAL = {
    "module": bytes(wasmtime.wat2wasm(MODULE)),
    "component": bytes(wasmtime.wat2wasm(COMMAND)),
}


def ends_of_sections(content: bytes) -> set[int]:
    """The lengths at which a cut leaves a shorter, whole file."""
    at, ends = 8, {8}
    while at < len(content):
        size = shift = 0
        at += 1
        while True:
            byte = content[at]
            size |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                break
        at += size
        ends.add(at)
    return ends


@pytest.mark.parametrize("kind", REAL)
def test_a_file_cut_off_anywhere_is_invalid(kind: str) -> None:
    content = REAL[kind]
    whole = ends_of_sections(content)
    for length in range(len(content)):
        if length in whole:
            assert wasm.inspect(content[:length]).kind == kind
        else:
            with pytest.raises(wasm.InvalidWasm) as caught:
                wasm.inspect(content[:length])
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", REAL)
def test_any_byte_changed_is_no_crash(kind: str) -> None:
    content = REAL[kind]
    for at in range(len(content)):
        for value in (0, 1, 0x7F, 0x80, 0xFF, content[at] ^ 1):
            survives(content[:at] + bytes([value]) + content[at + 1 :])


def survives(content: bytes) -> None:
    try:
        found = wasm.inspect(content)
    except wasm.InvalidWasm as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300
        return
    assert found.needs is not None
    assert found.languages is not None
    assert found.is_command in (True, False)
    assert found.imports_sockets in (True, False)


@given(st.binary(max_size=200))
def test_garbage_is_no_crash(content: bytes) -> None:
    survives(content)
    survives(HEAD + content)
    survives(COMPONENT_HEAD + content)


@given(
    st.sampled_from([HEAD, COMPONENT_HEAD]),
    st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=60)), max_size=6),
)
@settings(max_examples=300)
def test_garbage_in_sections_is_no_crash(head: bytes, parts: list[tuple[int, bytes]]) -> None:
    survives(head + b"".join(section(number, contents) for number, contents in parts))


@given(st.binary(max_size=300))
def test_a_file_and_its_bytes_are_the_same(content: bytes) -> None:
    answers = []
    for source in (HEAD + content, io.BytesIO(HEAD + content)):
        try:
            answers.append(str(wasm.inspect(source)))
        except wasm.InvalidWasm as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


HUGE = b"\xff\xff\xff\xff\x0f"
"""2**32 - 1."""


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"\1" + HUGE,
        HEAD + section(1, HUGE),
        HEAD + section(1, b"\1\x4e" + HUGE),
        HEAD + section(1, b"\1\x60" + HUGE),
        HEAD + section(1, b"\1\x60\0" + HUGE),
        HEAD + section(1, b"\1\x5f" + HUGE),
        HEAD + section(1, b"\1\x50" + HUGE),
        HEAD + section(2, HUGE),
        HEAD + section(2, b"\1" + HUGE),
        HEAD + section(2, b"\1\0\0\0" + HUGE),
        HEAD + section(5, HUGE),
        HEAD + section(7, HUGE),
        HEAD + section(7, b"\1" + HUGE),
        HEAD + section(0, HUGE),
        HEAD + section(1, b"\x80\x80\x80\x80\x80\x80\0"),
        HEAD + section(1, b"\xff\xff\xff\xff\x7f"),
        COMPONENT_HEAD + section(10, HUGE),
        COMPONENT_HEAD + section(10, b"\1\0" + HUGE),
        COMPONENT_HEAD + section(11, HUGE),
    ],
)
def test_huge_lengths_are_invalid_and_take_no_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(wasm.InvalidWasm):
            wasm.inspect(content)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def many(number: int, item: bytes, count: int) -> bytes:
    return section(number, leb(count) + item * count)


@pytest.mark.parametrize(
    "content",
    [
        HEAD + many(7, b"\0\0\0", 300_000),
        HEAD + many(1, b"\x60\0\0", 300_000),
        HEAD + section(1, b"\1" + b"\x4e" + leb(300_000) + b"\x60\0\0" * 300_000),
        HEAD + b"\x0c\0" * 300_000,
        HEAD + many(5, b"\0\1", 300_000),
    ],
)
def test_too_many_of_anything_is_invalid(content: bytes) -> None:
    with pytest.raises(wasm.InvalidWasm, match="more than 200000 sections, imports"):
        wasm.inspect(content)


@pytest.mark.parametrize(
    "content",
    [
        HEAD + section(1, b"\1\x60" + leb(1001) + b"\x7f" * 1001 + b"\0"),
        HEAD + section(7, b"\1" + name("x" * 100_001) + b"\0\0"),
        HEAD + section(0, name("x" * 100_001)),
        HEAD + section(2, leb(1) + bytes(9 << 20)),
        HEAD + section(0, name("\0")[:1] + b"\xff"),
        HEAD + section(3, b"")[:1] + b"\x80\x80\x80\x80\x80\0",
    ],
)
def test_what_is_too_large_for_any_engine_is_invalid(content: bytes) -> None:
    with pytest.raises(wasm.InvalidWasm):
        wasm.inspect(content)


def test_many_large_signatures_are_invalid() -> None:
    signature = b"\x60" + leb(1000) + b"\x7f" * 1000 + b"\0"
    imports = b"".join(b"\0\0\0" + leb(index) for index in range(300))
    content = HEAD + many(1, signature, 300) + section(2, leb(300) + imports)
    with pytest.raises(wasm.InvalidWasm, match="more than 200000"):
        wasm.inspect(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\0as", "ends after 3 bytes, within its preamble"),
        (b"\0asm\1\0", "ends after 6 bytes, within its preamble"),
        (b"\0asm\2\0\0\0", "version 2 of layer 0"),
        (b"\x7fELF\2\1\1\0", "it begins with 7f 45 4c 46"),
        (HEAD + b"\1\5\1", "section 1 at byte 10 should have 5 bytes, but the file has 1 more"),
        (HEAD + section(7, b"\1\1\xff\0\0"), "export section, at byte 13: a name is not UTF-8"),
        (HEAD + section(5, b"\1\0\1\0"), "there are bytes behind its last item"),
        (HEAD + section(2, b"\1\0\0\0\0"), "has type 0, which is not there"),
        (HEAD + section(2, b"\1\0\0\x09\0"), "there is no kind of import or export 0x09"),
    ],
)
def test_errors_say_what_is_wrong_and_where(content: bytes, says: str) -> None:
    with pytest.raises(wasm.InvalidWasm) as caught:
        wasm.inspect(content)
    assert says in str(caught.value)
