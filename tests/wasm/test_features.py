"""Which additions to WebAssembly 1.0 a module is found to use."""

import io

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT
from tests.wasm.test_modules import HEAD, leb, module, section

from wherry import wasm
from wherry.wasm import Section
from wherry.wasm.instructions import MAX_FUNCTIONS, look

TEXTS = {
    "nothing": ("(module (memory 1) (table 1 funcref) (func (export `f`)))", set()),
    "sign extension": (
        "(module (func (param i32) (result i32) (i32.extend8_s (local.get 0))))",
        {"sign extension"},
    ),
    "saturating conversions": (
        "(module (func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0))))",
        {"saturating conversions"},
    ),
    "multiple results of a function": (
        "(module (func (result i32 i64) (i32.const 1) (i64.const 2)))",
        {"multiple results"},
    ),
    "multiple results of a block": (
        "(module (func (drop (drop (block (result i32 i32) (i32.const 1) (i32.const 2))))))",
        {"multiple results"},
    ),
    "bulk memory": (
        "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 9))))",
        {"bulk memory"},
    ),
    "passive data": (
        "(module (memory 1) (data $d `abc`) (func (memory.init $d (i32.const 0) (i32.const 0)"
        " (i32.const 1)) (data.drop $d)))",
        {"bulk memory"},
    ),
    "reference types": ("(module (func (param externref)))", {"reference types"}),
    "two tables": ("(module (table 1 funcref) (table 1 externref))", {"reference types"}),
    "growing a table": (
        "(module (table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1)))))",
        {"reference types"},
    ),
    "SIMD": (
        "(module (memory 1) (func (result v128) (i32x4.add (v128.load (i32.const 0))"
        " (v128.const i32x4 1 2 3 4))))",
        {"SIMD"},
    ),
    "lanes": (
        "(module (memory 1) (func (drop (i8x16.extract_lane_s 3 (i8x16.shuffle 0 1 2 3 4 5 6 7 8"
        " 9 10 11 12 13 14 15 (v128.load32_zero (i32.const 0)) (v128.load8_lane 2 (i32.const 0)"
        " (v128.const i64x2 0 0)))))))",
        {"SIMD"},
    ),
    "relaxed SIMD": (
        "(module (func (param v128) (result v128) (i32x4.relaxed_trunc_f32x4_s (local.get 0))))",
        {"SIMD", "relaxed SIMD"},
    ),
    "tail calls": ("(module (func $f (return_call $f)))", {"tail calls"}),
    "exceptions": (
        "(module (tag $e (param i32)) (func (block $h (result i32)"
        " (try_table (catch $e $h) (throw $e (i32.const 1))) (i32.const 2)) (drop)))",
        {"exceptions"},
    ),
    "exceptions of the first draft": (
        "(module (tag $e) (func try nop catch $e nop catch_all nop end))",
        {"exceptions", "exceptions of the first draft"},
    ),
    "typed references": (
        "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))",
        {"typed references"},
    ),
    "garbage collection": (
        "(module (type $s (struct (field (mut i32)))) (func (result i32) (local (ref null $s))"
        " (local.set 0 (struct.new $s (i32.const 1))) (struct.get $s 0 (local.get 0))))",
        {"garbage collection"},
    ),
    "arrays": (
        "(module (type $a (array (mut i8))) (func (drop (array.get_u $a (array.new_fixed $a 2"
        " (i32.const 1) (i32.const 2)) (i32.const 0))) (drop (ref.i31 (i32.const 1)))))",
        {"garbage collection"},
    ),
    "threads": ("(module (memory 1 2 shared))", {"threads"}),
    "atomics": (
        "(module (memory 1 2 shared) (func (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))"
        " (atomic.fence)))",
        {"threads"},
    ),
    "memory64": ("(module (memory i64 1))", {"memory64"}),
    "table64": ("(module (table i64 1 funcref))", {"memory64"}),
    "multiple memories": (
        "(module (memory 1) (memory 1) (func (drop (i32.load 1 (i32.const 0))) (drop"
        " (memory.size 1))))",
        {"multiple memories"},
    ),
    "custom page sizes": ("(module (memory 1 (pagesize 1)))", {"custom page sizes"}),
    "wide arithmetic": (
        "(module (func (param i64 i64) (drop (drop (i64.mul_wide_u (local.get 0)"
        " (local.get 1))))))",
        {"wide arithmetic"},
    ),
    "a table of labels": (
        "(module (func (param i32) (block (block (block (br_table 0 1 2 0 (local.get 0)))))"
        " (drop (i32.extend16_s (i32.const 1)))))",
        {"sign extension"},
    ),
    "constants of all kinds": (
        "(module (func (drop (i32.const -1)) (drop (i64.const 0x7fffffffffffffff))"
        " (drop (f32.const 1)) (drop (f64.const 1)) (drop (select (result i32) (i32.const 0)"
        " (i32.const 1) (i32.const 2)))))",
        {"reference types"},
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_module_uses_is_told(name: str) -> None:
    text, expected = TEXTS[name]
    anatomy = wasm.dissect(module(text.replace("`", '"')))
    assert set(anatomy.features) == expected
    assert anatomy.features_complete


FILES = sorted(ROOT.glob("tests/guests/*.wat"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_all_code_of_the_guests_is_understood(path: object) -> None:
    assert wasm.dissect(open(str(path), "rb")).features_complete  # noqa: SIM115


def test_what_is_used_in_a_component_is_told_of_it() -> None:
    text = "(component (core module (func (param v128))) (core module (memory i64 1)))"
    anatomy = wasm.dissect(module(text))
    assert anatomy.features == ["SIMD", "memory64"]
    assert [each.features for each in anatomy.nested] == [["SIMD"], ["memory64"]]


def code(*bodies: bytes) -> bytes:
    functions = b"".join(leb(len(body)) + body for body in bodies)
    return HEAD + section(10, leb(len(bodies)) + functions)


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\xff\x0b",
        b"\x00\xfd\xff\xff\xff\x7f\x0b",
        b"\x00\x0e\xff\xff\xff\xff\x0f\x0b",
        b"\xff\xff\xff\xff\x0f",
        b"\x00\x41" + b"\x80" * 50,
        b"\x00\x41",
        b"",
    ],
)
def test_code_that_is_not_understood_is_told_and_ends_nothing(body: bytes) -> None:
    fine = b"\x00\x41\x00\xc0\x1a\x0b"
    anatomy = wasm.dissect(code(body, fine))
    assert not anatomy.features_complete
    assert anatomy.features == ["sign extension"]


def test_a_function_larger_than_what_is_in_memory_at_once_is_looked_at_in_part() -> None:
    large = b"\x00" + b"\x01" * (9 << 20) + b"\x0b"
    anatomy = wasm.dissect(code(large, b"\x00\x41\x00\xc0\x1a\x0b"))
    assert anatomy.features == ["sign extension"]
    assert not anatomy.features_complete


def test_functions_across_the_ends_of_windows_are_whole() -> None:
    filler = b"\x00" + b"\x41\x80\x80\x01\x1a" * 60_000 + b"\x0b"
    last = b"\x00\x41\x00\xc0\x1a\x0b"
    anatomy = wasm.dissect(code(*[filler] * 40, last))
    assert anatomy.features == ["sign extension"]
    assert anatomy.features_complete


def test_more_functions_than_engines_take_are_not_all_looked_at() -> None:
    contents = leb(MAX_FUNCTIONS + 1) + b"\2\0\x0b" * 10
    found = look(io.BytesIO(contents), Section("code", len(contents)))
    assert not found.is_whole


@given(st.binary(max_size=300))
def test_garbage_for_code_is_no_crash(body: bytes) -> None:
    assert wasm.dissect(code(body, body[::-1])).kind == "module"
    contents = HEAD + section(10, body)
    assert wasm.dissect(contents).kind == "module"


def test_a_catch_that_is_cut_off_is_one_all_the_same() -> None:
    anatomy = wasm.dissect(code(b"\x00\x1f\x40\xff\xff\x03\x0b"))
    assert anatomy.features == ["exceptions"]
    assert not anatomy.features_complete


def engine_takes(content: bytes) -> bool:
    try:
        wasmtime.Module(wasmtime.Engine(), content)
    except wasmtime.WasmtimeError:
        return False
    return True


@pytest.mark.parametrize("name", TEXTS)
def test_what_no_engine_here_has_is_what_wasmtime_refuses(name: str) -> None:
    content = module(TEXTS[name][0].replace("`", '"'))
    anatomy = wasm.dissect(content)
    assert anatomy.verdict is not None
    assert anatomy.verdict.reason.startswith("it is a library")
    program = wasm.dissect(module(TEXTS[name][0].replace("`", '"')[:-1] + START))
    assert program.verdict is not None
    assert program.verdict.can == engine_takes(content), program.verdict


START = '(func (export "_start")))'
