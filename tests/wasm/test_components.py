"""What is read of components."""

import pytest
import wasmtime

from wherry import wasm
from wherry.wasm import Export, Import


def component(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


COMMAND = """(component
  (import "wasi:cli/environment@0.2.3" (instance
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:io/streams@0.2.3" (instance (export "output-stream" (type (sub resource)))))
  (core module $main (memory (export "memory") 2)
    (func (export "run") (result i32) (i32.const 0))
    (@producers (language "Rust" "2021")))
  (core instance $instance (instantiate $main))
  (func $run (result (result)) (canon lift (core func $instance "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.3" (instance $exported))
)"""


def test_a_command_component() -> None:
    found = wasm.inspect(component(COMMAND))
    assert found.kind == "component"
    assert found.imports == (
        Import("", "wasi:cli/environment@0.2.3", "instance"),
        Import("", "wasi:io/streams@0.2.3", "instance"),
    )
    assert found.exports == (Export("wasi:cli/run@0.2.3", "instance"),)
    assert found.is_command
    assert not found.imports_sockets
    assert found.needs == {"wasi-0.2"}
    assert found.languages == {"Rust"}
    assert [part.name for part in found.sections].count("core module") == 1


def test_nested_modules_are_read_with_their_memories() -> None:
    found = wasm.inspect(component(COMMAND))
    (inner,) = found.nested
    assert inner.kind == "module"
    assert inner.memories[0].minimum == 2
    assert Export("run", "function") in inner.exports
    assert list(found.walk()) == [found, inner]


def test_components_in_components() -> None:
    found = wasm.inspect(
        component(
            "(component $outer (component $middle (component $inner"
            '  (core module $m (func (export "f"))))))'
        )
    )
    kinds = [file.kind for file in found.walk()]
    assert kinds == ["component", "component", "component", "module"]
    assert [file.name for file in found.walk()] == ["outer", "middle", "inner", "m"]


def test_imports_and_exports_of_every_kind() -> None:
    found = wasm.inspect(
        component(
            """(component
            (import "f" (func $f (param "a" u32)))
            (type $u u32) (import "t" (type $t (eq $u)))
            (import "r" (type (sub resource)))
            (import "i" (instance))
            (import "c" (component))
            (import "m" (core module))
            (export "f2" (func $f))
            (export "t2" (type $t)))"""
        )
    )
    assert [(item.name, item.kind) for item in found.imports] == [
        ("f", "function"),
        ("t", "type"),
        ("r", "type"),
        ("i", "instance"),
        ("c", "component"),
        ("m", "module"),
    ]
    assert found.exports == (Export("f2", "function"), Export("t2", "type"))
    assert not found.is_command


@pytest.mark.parametrize(
    ("items", "needs", "sockets"),
    [
        ('(import "wasi:sockets/tcp@0.2.0" (instance))', {"wasi-0.2", "wasi-sockets"}, True),
        (
            '(import "wasi:http/outgoing-handler@0.2.0" (instance))',
            {"wasi-0.2", "wasi-http-client"},
            True,
        ),
        ('(import "wasi:http/types@0.2.0" (instance))', {"wasi-0.2"}, False),
        (
            '(import "i" (instance $i)) (export "wasi:http/incoming-handler@0.2.1" (instance $i))',
            {"wasi-0.2", "wasi-http-server"},
            False,
        ),
        ('(import "wasi:cli/stdout@0.3.0" (instance))', {"wasi-0.3"}, False),
        ('(import "wasi:cli/stdout@0.3.0-rc-2025-09-16" (instance))', {"wasi-0.3"}, False),
        ('(import "example:thing/sockets@0.2.0" (instance))', set(), False),
    ],
)
def test_what_a_host_must_have(items: str, needs: set[str], sockets: bool) -> None:
    found = wasm.inspect(component(f"(component {items})"))
    assert found.needs == needs
    assert found.imports_sockets == sockets


def test_a_section_that_says_module_and_holds_a_component_is_refused() -> None:
    inner = b"\0asm\x0d\0\1\0"
    with pytest.raises(wasm.InvalidWasm, match=r"core module section .* holds a component"):
        wasm.inspect(inner + b"\1\x08" + inner)


def test_components_nested_without_end_are_refused() -> None:
    content = head = b"\0asm\x0d\0\1\0"
    for _ in range(200):
        size = len(content)
        content = head + b"\4" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F]) + content
    with pytest.raises(wasm.InvalidWasm, match="nested more than 32 deep"):
        wasm.inspect(content)


@pytest.mark.parametrize(
    ("items", "world", "files"),
    [
        ('(instance $i) (export "wasi:cli/run@0.2.0" (instance $i))', "command", False),
        ('(instance $i) (export "wasi:http/incoming-handler@0.2.4" (instance $i))', "http", False),
        ('(instance $i) (export "wasi:http/handler@0.3.0" (instance $i))', "http", False),
        ('(import "wasi:http/outgoing-handler@0.2.0" (instance))', "command", False),
        ('(import "wasi:filesystem/preopens@0.2.0" (instance))', "command", True),
    ],
)
def test_what_it_is_made_for(items: str, world: str, files: bool) -> None:
    found = wasm.inspect(component(f"(component {items})"))
    assert (found.world, found.imports_files) == (world, files)
