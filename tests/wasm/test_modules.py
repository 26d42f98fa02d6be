"""What is read of core modules."""

import io
from pathlib import Path

import pytest
import wasmtime

from wherry import wasm
from wherry.wasm import Export, FunctionType, Import, Memory, Producer, Section


def module(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def section(number: int, contents: bytes) -> bytes:
    return bytes([number]) + leb(len(contents)) + contents


def leb(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def name(text: str) -> bytes:
    return leb(len(text.encode())) + text.encode()


def wasi(*functions: str) -> bytes:
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{function}" (func))' for function in functions
    )
    return module(f'(module {imports} (func (export "_start")))')


HEAD = b"\0asm\1\0\0\0"


def test_an_empty_module_has_nothing() -> None:
    found = wasm.inspect(HEAD)
    assert found == wasm.WasmFile("module")
    assert found.needs == frozenset()
    assert not found.is_command


def test_imports_are_told_with_their_kinds_and_signatures() -> None:
    found = wasm.inspect(
        module(
            """(module
            (import "a" "f" (func (param i32 i64 f32 f64 v128) (result externref)))
            (import "a" "f2" (func))
            (import "a" "t" (table 1 2 funcref))
            (import "b" "m" (memory 1 3))
            (import "b" "g" (global (mut i64)))
            (import "b" "ü" (tag (param i32))))"""
        )
    )
    signature = FunctionType(("i32", "i64", "f32", "f64", "v128"), ("externref",))
    assert found.imports == (
        Import("a", "f", "function", signature),
        Import("a", "f2", "function", FunctionType((), ())),
        Import("a", "t", "table"),
        Import("b", "m", "memory"),
        Import("b", "g", "global"),
        Import("b", "ü", "tag"),
    )
    assert found.memories == (Memory(1, 3, shared=False, is_64=False),)


def test_exports_start_and_sections_are_told() -> None:
    content = module(
        """(module (memory (export "memory") 1) (global (export "g") i32 (i32.const 1))
        (table (export "t") 1 funcref)
        (func $f) (export "_start" (func $f)) (start $f) (data (i32.const 0) "abc"))"""
    )
    found = wasm.inspect(content)
    assert set(found.exports) == {
        Export("memory", "memory"),
        Export("g", "global"),
        Export("t", "table"),
        Export("_start", "function"),
    }
    assert found.has_start
    assert found.is_command
    names = [part.name for part in found.sections]
    assert names[:4] == ["type", "function", "table", "memory"]
    assert {"code", "data", "start", "export", "custom name"} <= set(names)
    sizes = sum(part.size + 2 for part in found.sections)
    assert sizes <= len(content) - 8


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("(memory 1)", Memory(1, None, shared=False, is_64=False)),
        ("(memory 1 65536)", Memory(1, 65536, shared=False, is_64=False)),
        ("(memory 1 2 shared)", Memory(1, 2, shared=True, is_64=False)),
        ("(memory i64 1 281474976710656)", Memory(1, 1 << 48, shared=False, is_64=True)),
        ("(memory 5 9 (pagesize 1))", Memory(5, 9, shared=False, is_64=False, page_size=1)),
    ],
)
def test_memories_of_every_kind(text: str, memory: Memory) -> None:
    assert wasm.inspect(module(f"(module {text})")).memories == (memory,)


def test_types_of_garbage_collected_languages_are_counted_as_the_spec_counts() -> None:
    found = wasm.inspect(
        module(
            """(module
            (rec (type $s (sub (struct (field i8) (field (mut (ref null $s))))))
                 (type $a (array (mut i16))))
            (type $f (sub final (func (param (ref $s) (ref null any) i31ref) (result eqref))))
            (import "a" "b" (func (type $f))))"""
        )
    )
    assert found.imports[0].type == FunctionType(("(ref 0)", "anyref", "i31ref"), ("eqref",))


def test_the_name_and_producers_sections_are_read() -> None:
    producers = (
        leb(2)
        + (name("language") + leb(2) + name("Go") + name("1.21") + name("C11") + name(""))
        + (name("processed-by") + leb(1) + name("clang") + name("17"))
    )
    content = (
        HEAD
        + section(0, name("producers") + producers)
        + section(0, name("name") + b"\0" + leb(6) + name("hello"))
        + section(0, name("other") + b"\xff" * 5)
    )
    found = wasm.inspect(content)
    assert found.producers == (
        Producer("language", "Go", "1.21"),
        Producer("language", "C11", ""),
        Producer("processed-by", "clang", "17"),
    )
    assert found.languages == {"Go", "C11"}
    assert found.name == "hello"
    assert found.sections[2] == Section("custom other", 11, start=len(content) - 11)


@pytest.mark.parametrize("rest", [b"", b"\xff", b"\xff\xff\xff\xff\x0f", b"\1\4lang"])
@pytest.mark.parametrize("kind", ["name", "producers"])
def test_malformed_custom_sections_are_no_error(kind: str, rest: bytes) -> None:
    found = wasm.inspect(HEAD + section(0, name(kind) + rest))
    assert (found.name, found.producers) == ("", ())


def test_wasi_and_its_extensions_are_recognised() -> None:
    assert wasm.inspect(wasi("fd_write")).needs == {"wasi-0.1"}
    threads = module('(module (import "wasi" "thread-spawn" (func (param i32) (result i32))))')
    assert wasm.inspect(threads).needs == {"wasi-threads"}
    assert wasm.inspect(module('(module (import "env" "fd_write" (func)))')).needs == frozenset()


@pytest.mark.parametrize(
    "function", ["sock_open", "sock_connect", "sock_bind", "sock_getaddrinfo", "sock_send_to"]
)
def test_sockets_of_wasmedge_ask_for_the_network(function: str) -> None:
    found = wasm.inspect(wasi(function))
    assert found.imports_sockets
    assert found.needs == {"wasi-0.1", "wasmedge-sockets"}


def test_the_socket_calls_every_interpreter_imports_do_not() -> None:
    found = wasm.inspect(wasi("sock_accept", "sock_recv", "sock_send", "sock_shutdown"))
    assert not found.imports_sockets


def test_text_is_only_recognised() -> None:
    assert wasm.inspect(b"(module)") == wasm.WasmFile("text")


class Counting(io.FileIO):
    """A file that counts the bytes read from it."""

    amount = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        assert data is not None
        self.amount += len(data)
        return data


def test_code_and_data_are_skipped_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.wasm"
    with open(path, "wb") as file:
        file.write(HEAD + b"\x0b" + leb(1 << 30))
        file.seek(1 << 30, 1)
        file.write(section(7, b"\0"))
    with Counting(path) as counted:
        found = wasm.inspect(counted)
    assert [part.name for part in found.sections] == ["data", "export"]
    assert counted.amount < 10_000
