"""A start function that is exported instead of run when a module is instantiated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import Engine, Instance, Module, Store, wat2wasm

from wherry.wasm import DEFERRED_START, InvalidWasm, defer_start, inspect

COUNTS = """(global $runs (export "runs") (mut i32) (i32.const 0))
  (func $other) (func $at_start (global.set $runs (i32.add (global.get $runs) (i32.const 1))))"""


@pytest.mark.parametrize("exports", ["", '(export "a" (func 0))'])
@pytest.mark.parametrize("counted", [COUNTS, COUNTS.replace('(export "runs")', "")])
def test_it_runs_when_it_is_called(exports: str, counted: str) -> None:
    text = (
        f"(module {exports} {counted} (start $at_start) (table 1 funcref) (elem (i32.const 0) 0))"
    )
    deferred = defer_start(bytes(wat2wasm(text)))
    found = inspect(deferred)
    assert not found.has_start
    engine = Engine()
    store = Store(engine)
    exported = Instance(store, Module(engine, deferred), []).exports(store)
    names = [export.name for export in found.exports]
    assert names[-1] == DEFERRED_START
    if "runs" in names:
        assert exported["runs"].value(store) == 0
    exported[DEFERRED_START](store)
    if "runs" in names:
        assert exported["runs"].value(store) == 1


def test_a_module_without_one_is_as_it_was() -> None:
    module = bytes(wat2wasm(f"(module {COUNTS})"))
    assert defer_start(module) == module


def test_more_exports_than_a_byte_counts() -> None:
    exports = " ".join(f'(export "e{number}" (func 0))' for number in range(127))
    deferred = defer_start(bytes(wat2wasm(f"(module {exports} (func) (start 0))")))
    assert len(inspect(deferred).exports) == 128
    Module(Engine(), deferred)


@given(st.binary(max_size=60))
def test_anything_else_is_refused(rest: bytes) -> None:
    module = b"\0asm\1\0\0\0" + rest
    try:
        deferred = defer_start(module)
    except InvalidWasm:
        return
    assert deferred == module or DEFERRED_START.encode() in deferred
