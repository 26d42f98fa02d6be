"""What `dissect` tells of modules and components."""

import io
import json
import zlib
from typing import Any

import msgspec
import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import ROOT
from tests.guests.toolchain import Guests
from tests.wasm.test_components import COMMAND
from tests.wasm.test_hostile import REAL
from tests.wasm.test_modules import HEAD, leb, module, name, section

from wherry import wasm
from wherry.runtime.wasi.sockets.layer import SocketLayer
from wherry.runtime.wasi.sockets.table import SocketTable
from wherry.wasm import Anatomy, Machine
from wherry.wasm.hosting import SOCKET_SIGNATURES, is_given


def custom(title: str, contents: bytes) -> bytes:
    return section(0, name(title) + contents)


def program(imports: str = "", more: str = "") -> bytes:
    return module(
        f'(module {imports} {more} (memory (export "memory") 1) (func (export "_start")))'
    )


def meanings(anatomy: Anatomy) -> dict[str, list[str]]:
    return {group.meaning: [item.name for item in group.items] for group in anatomy.imports}


def preview1(*calls: str) -> str:
    return "".join(f'(import "wasi_snapshot_preview1" "{call}" (func))' for call in calls)


def test_imports_are_told_by_what_they_mean() -> None:
    calls = ("fd_write", "path_open", "clock_time_get", "random_get", "args_get", "environ_get")
    told = meanings(wasm.dissect(program(preview1(*calls, "proc_exit", "poll_oneoff"))))
    assert told == {
        "arguments and environment": ["args_get", "environ_get"],
        "streams and open files": ["fd_write"],
        "files": ["path_open"],
        "clocks": ["clock_time_get"],
        "random numbers": ["random_get"],
        "waiting": ["poll_oneoff"],
        "process": ["proc_exit"],
    }


def test_interfaces_of_a_component_are_told_by_what_they_mean(guests: Guests) -> None:
    anatomy = wasm.dissect(guests.http().read_bytes(), Machine(has_command=True))
    told = meanings(anatomy)
    assert told["HTTP"] == ["wasi:http/types@0.2.0", "wasi:http/outgoing-handler@0.2.0"]
    assert "wasi:filesystem/types@0.2.0" in told["files"]
    assert "unknown" not in told
    assert (anatomy.entry, anatomy.target) == ("http", "WASI 0.2")
    assert anatomy.verdict and (anatomy.verdict.can, anatomy.verdict.engine) == (True, "wasmtime")
    assert [each.kind for each in anatomy.nested] == ["module", "module", "component"]


SOCKETS = '(import "wasi_snapshot_preview1" "sock_getlocaladdr" (func (param {}) (result i32)))'


@pytest.mark.parametrize(
    ("imports", "abi"),
    [
        (preview1("sock_accept", "sock_recv"), "WASI 0.1, on listeners it is given"),
        (preview1("sock_open"), "WasmEdge"),
        (SOCKETS.format("i32 i32 i32 i32"), "WasmEdge"),
        (SOCKETS.format("i32 i32 i32"), "WasmEdge, with 128-byte addresses"),
    ],
)
def test_whose_sockets_a_module_uses_is_told(imports: str, abi: str) -> None:
    [group] = wasm.dissect(program(imports)).imports
    assert (group.meaning, group.detail) == ("sockets", abi)


@pytest.mark.parametrize(
    ("imports", "origin", "target"),
    [
        ('(import "env" "emscripten_memcpy_js" (func))', "Emscripten", "JavaScript"),
        ('(import "wbg" "__wbg_log_1" (func))', "wasm-bindgen", "JavaScript"),
        ('(import "gojs" "runtime.wasmExit" (func))', "wasm_exec.js", "JavaScript"),
        ('(import "env" "abort" (func))', "AssemblyScript", "a host of its own"),
        ('(import "wasi_ephemeral_nn" "load" (func))', "neural networks", "a host of its own"),
        ('(import "wasi_unstable" "fd_write" (func))', "before 0.1", "a host of its own"),
        ('(import "whatever" "thing" (func))', "", "a host of its own"),
        ('(import "wasi" "thread-spawn" (func))', "threads of WASI", "WASI threads"),
        ('(import "wasi_snapshot_preview1" "fd_write" (global i32))', "", "WASI 0.1"),
    ],
)
def test_an_import_that_no_engine_gives_is_named_with_whose_it_is(
    imports: str, origin: str, target: str
) -> None:
    anatomy = wasm.dissect(program(imports))
    assert anatomy.verdict is not None
    assert not anatomy.verdict.can
    assert imports.split('"')[3] in anatomy.verdict.reason
    assert origin in anatomy.verdict.reason
    assert target in anatomy.target


def test_what_is_run_is_told() -> None:
    assert wasm.dissect(program()).entry == "command"
    assert wasm.dissect(module('(module (func (export "_initialize")))')).entry == "reactor"
    library = wasm.dissect(module('(module (func (export "add")))'))
    assert library.entry == "library"
    assert library.verdict and "nothing to run" in library.verdict.reason
    assert wasm.dissect(module(COMMAND)).entry == "command"


def test_wasi_0_3_takes_the_command(guests: Guests) -> None:
    content = guests.wasm("async").read_bytes()
    without = wasm.dissect(content).verdict
    assert without and not without.can and "wherry[http]" in without.reason
    there = wasm.dissect(content, Machine(has_command=True)).verdict
    assert there and there.can and there.engine == "wasmtime"


def test_memories_are_told_in_pages_and_bytes_and_tables_with_their_limits() -> None:
    anatomy = wasm.dissect(
        module(
            '(module (import "a" "t" (table 2 externref)) (memory 3 9) (memory i64 1)'
            " (table $t 1 5 (ref null func) (ref.null func)) (table 7 funcref))"
        )
    )
    first, second = anatomy.memories
    assert (first.minimum, first.minimum_bytes, first.maximum_bytes) == (3, 196608, 589824)
    assert (second.maximum, second.maximum_bytes, second.is_64) == (None, None, True)
    assert [(each.type, each.minimum, each.maximum) for each in anatomy.tables] == [
        ("externref", 2, None),
        ("(ref null func)" if anatomy.tables[1].type.startswith("(") else "funcref", 1, 5),
        ("funcref", 7, None),
    ]


def test_sections_are_told_with_their_place_and_what_they_count() -> None:
    content = program(more="(func) (func) (data `a`) (data `b`)".replace("`", '"'))
    anatomy = wasm.dissect(content + custom("notes", b"hi"))
    found = {each.name: each for each in anatomy.sections}
    assert found["function"].items == 3
    assert found["data"].items == 2
    notes = found["custom notes"]
    whole = content + custom("notes", b"hi")
    assert whole[notes.start : notes.start + notes.size] == name("notes") + b"hi"
    assert sum(each.size for each in anatomy.sections) < anatomy.size == len(whole)


METADATA = {
    "authors": "Ann <ann@example.org>",
    "description": "Does a\nthing",
    "licenses": "Apache-2.0 OR MIT",
    "source": "https://example.org/src",
    "homepage": "https://example.org",
    "revision": "0123abcd",
    "version": "1.2.3",
}


def test_what_people_wrote_about_a_file_is_told() -> None:
    sections = b"".join(custom(key, text.encode()) for key, text in METADATA.items())
    told = msgspec.to_builtins(wasm.dissect(program() + sections).metadata)
    assert told == {"Name": "", **{key.title(): text for key, text in METADATA.items()}}


@pytest.mark.parametrize("contents", [b"\xff\xfe", b"a" * (1 << 17)])
def test_what_is_no_text_about_a_file_is_left_out(contents: bytes) -> None:
    anatomy = wasm.dissect(program() + custom("version", contents))
    assert anatomy.metadata.version == ""


def test_text_about_a_file_commands_no_terminal() -> None:
    anatomy = wasm.dissect(program() + custom("version", b"1\x1b[2J\x00\x9b0m"[:6]))
    assert anatomy.metadata.version == "1[2J"


def test_producers_tell_languages_as_people_spell_them() -> None:
    lines = (
        *(
            ("language", "C_plus_plus_14", ""),
            ("language", "C11", ""),
            ("language", "Rust", "2021"),
        ),
        ("processed-by", "clang", "17.0"),
    )
    fields: dict[str, list[tuple[str, str]]] = {}
    for field, tool, version in lines:
        fields.setdefault(field, []).append((tool, version))
    contents = leb(len(fields))
    for field, told in fields.items():
        contents += name(field) + leb(len(told))
        contents += b"".join(name(tool) + name(version) for tool, version in told)
    anatomy = wasm.dissect(program() + custom("producers", contents))
    assert [each.name for each in anatomy.languages] == ["C++14", "C11", "Rust"]
    assert [(each.name, each.version) for each in anatomy.tools] == [("clang", "17.0")]
    assert anatomy.known_by == "producers"


@pytest.mark.parametrize(
    ("content", "language", "tool"),
    [
        (program(more='(data "x/rustc-1.85.1/library/std/src/io/mod.rs")'), "Rust", "rustc 1.85.1"),
        (program(more='(func (export "go_scheduler"))'), "Go", "TinyGo "),
        (program(more='(func (export "__pin"))'), "AssemblyScript", "asc "),
        (
            program('(import "env" "abort" (func (param i32 i32 i32 i32)))'),
            "AssemblyScript",
            "asc ",
        ),
        (program('(import "teavm" "log" (func))'), "Java", "TeaVM "),
        (program('(import "dart2wasm" "x" (func))'), "Dart", "dart2wasm "),
        (program() + custom("go:buildid", b""), "Go", "Go cmd/compile "),
        (program(more='(func (export "hs_init"))'), "Haskell", "GHC "),
    ],
)
def test_a_stripped_file_is_known_by_marks(content: bytes, language: str, tool: str) -> None:
    anatomy = wasm.dissect(content)
    assert [each.name for each in anatomy.languages] == [language]
    assert [f"{each.name} {each.version}" for each in anatomy.tools] == [tool]
    assert anatomy.known_by == "marks"


def test_a_mark_across_the_end_of_a_window_is_found() -> None:
    from wherry.wasm.strings import WINDOW

    text = b"\0" * (WINDOW - 5) + b"/rustc-1.80.0/library"
    content = HEAD + section(11, leb(1) + b"\1" + leb(len(text)) + text)
    assert wasm.dissect(content).tools[0].version == "1.80.0"


AUDITABLE: dict[str, list[dict[str, Any]]] = {
    "packages": [
        {"name": "app", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1]},
        {"name": "serde", "version": "1.0.1", "source": "crates.io", "dependencies": [2]},
        {"name": "cc", "version": "1.2.0", "source": "crates.io", "kind": "build"},
    ]
}


def test_what_cargo_auditable_wrote_is_told() -> None:
    contents = zlib.compress(json.dumps(AUDITABLE).encode())
    told = wasm.dissect(program() + custom(".dep-v0", contents)).packages
    assert [(each.name, each.is_root, each.is_build, each.depends_on) for each in told] == [
        ("app", True, False, [1]),
        ("serde", False, False, [2]),
        ("cc", False, True, []),
    ]


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"junk",
        zlib.compress(b"{}"),
        zlib.compress(b"[" * 100_000),
        zlib.compress(b'{"packages":[{"name":1,"version":"","source":""}]}'),
        zlib.compress(json.dumps(AUDITABLE).encode())[:-4],
        zlib.compress(b" " * (17 << 20)),
    ],
)
def test_broken_lists_of_packages_are_no_error(contents: bytes) -> None:
    assert wasm.dissect(program() + custom(".dep-v0", contents)).packages == []


def test_a_package_that_needs_what_is_not_there_needs_nothing() -> None:
    told: dict[str, Any] = {"packages": [dict(AUDITABLE["packages"][1], dependencies=[9, -1])]}
    contents = zlib.compress(json.dumps(told).encode())
    [package] = wasm.dissect(program() + custom(".dep-v0", contents)).packages
    assert package.depends_on == []


@pytest.mark.guests
def test_go_tells_its_modules(guests: Guests) -> None:
    with open(guests.go("client"), "rb") as file:
        anatomy = wasm.dissect(file)
    told = {each.name: each for each in anatomy.packages}
    assert told["wherry.test/guests"].is_root
    assert told["github.com/redis/go-redis/v9"].version.startswith("v9.")
    assert anatomy.languages[0].name == "Go"
    assert anatomy.features_complete


@pytest.mark.guests
def test_interpreters_are_known_by_what_is_in_them(guests: Guests) -> None:
    with open(guests.component() / "app.wasm", "rb") as file:
        python = wasm.dissect(file)
    assert python.languages[0].name == "Python"
    assert python.runtime and python.runtime.name == "CPython"
    assert python.runtime.version.startswith("3.")
    assert python.features_complete
    assert {"libc.so", "libpython3.14.so"} <= {each.name for each in python.nested}


def test_text_is_told_as_what_it_describes() -> None:
    text = (ROOT / "tests/guests/echo.wat").read_bytes()
    anatomy = wasm.dissect(text)
    assert (anatomy.kind, anatomy.is_text, anatomy.size) == ("module", True, len(text))
    binary = wasm.dissect(bytes(wasmtime.wat2wasm(text)))
    assert anatomy.imports == binary.imports
    assert anatomy.sections == binary.sections


def test_text_with_a_mistake_is_told_in_one_line() -> None:
    with pytest.raises(wasm.InvalidWasm, match="not valid text") as caught:
        wasm.dissect(b"(module (func (i32.add)")
    assert "\n" not in str(caught.value)


def test_socket_calls_that_are_given_are_those_the_runtime_has() -> None:
    layer = SocketLayer(SocketTable(), lambda: memoryview(b""), lambda: False, lambda *_: 0)
    assert {(call, len(letters)) for call, letters in layer.sockets} == {
        *SOCKET_SIGNATURES,
        ("epoll_oneoff", 4),
    }


MODULES = [
    path for path in sorted(ROOT.glob("tests/guests/*.wat")) if "\n(module" in path.read_text()
]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_and_exports_are_those_that_wasmtime_sees(path: Any) -> None:
    content = bytes(wasmtime.wat2wasm(path.read_text()))
    seen = wasmtime.Module(wasmtime.Engine(), content)
    anatomy = wasm.dissect(content)
    told = [(item.module, item.name) for group in anatomy.imports for item in group.items]
    assert sorted(told) == sorted((each.module, each.name or "") for each in seen.imports)
    assert [item.name for item in anatomy.exports] == [each.name for each in seen.exports]


def links(content: bytes) -> bool:
    """Whether wasmtime has all that a module imports."""
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    for item in wasmtime.Module(engine, content).imports:
        try:
            linker.get(store, item.module, item.name or "")
        except wasmtime.WasmtimeError:
            return False
    return True


CALLS = [
    *("args_get", "clock_time_get", "fd_advise", "fd_allocate", "fd_fdstat_set_rights"),
    *("fd_pread", "fd_renumber", "path_link", "path_symlink", "proc_raise", "sched_yield"),
    *("poll_oneoff", "random_get", "fd_nothing", "path_nothing", "proc_nothing"),
]


@pytest.mark.parametrize("call", CALLS)
def test_calls_that_are_given_are_those_that_wasmtime_has(call: str) -> None:
    content = program(preview1(call))
    [item] = wasm.inspect(content).imports
    assert is_given(item) == links(content)


@pytest.mark.parametrize("kind", REAL)
def test_a_file_cut_off_or_changed_anywhere_is_told_of_or_invalid(kind: str) -> None:
    content = REAL[kind]
    for at in range(len(content)):
        for changed in (
            content[:at],
            content[:at] + b"\xff" + content[at + 1 :],
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
        ):
            survives(changed)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["producers", "version", ".dep-v0", "name", "target_features"]),
            st.binary(max_size=80),
        ),
        max_size=4,
    )
)
@settings(max_examples=200)
def test_garbage_in_custom_sections_is_no_crash(parts: list[tuple[str, bytes]]) -> None:
    survives(program() + b"".join(custom(title, contents) for title, contents in parts))


def survives(content: bytes) -> None:
    if wasm.sniff(content[:4096]) == "text":
        return
    try:
        anatomy = wasm.dissect(io.BytesIO(content))
    except wasm.InvalidWasm as error:
        assert "\n" not in str(error)
        return
    assert msgspec.json.decode(msgspec.json.encode(anatomy), type=Anatomy) == anatomy
