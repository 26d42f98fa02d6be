"""Which language and which tools a file comes from.

The `producers` section says so, where it was not stripped. Else there are marks: exports, imports
and sections that only one toolchain makes, and strings in the data that come with a standard
library. A mark is a guess, and told as one.
"""

import re
from typing import BinaryIO, NamedTuple

from wherry.wasm.facts import Import, Section, WasmFile
from wherry.wasm.strings import data_sections, windows

_LONGEST = 512
"""Bytes of the longest string that is looked for, with what is read behind it."""


class Tool(NamedTuple):
    """Something with a version; the version is empty when it is not told."""

    name: str
    version: str = ""


class Origin(NamedTuple):
    """Where a file comes from.

    `languages` in the order they were found in; `tools` made it; `runtime` is an interpreter or
    runtime system that is inside ("CPython"). `by` tells how it is known: "producers", "marks", or
    is empty when nothing is.
    """

    languages: tuple[Tool, ...] = ()
    tools: tuple[Tool, ...] = ()
    runtime: Tool | None = None
    by: str = ""


_SPELLINGS = {
    "C_plus_plus": "C++",
    "ObjC": "Objective-C",
    "ObjC_plus_plus": "Objective-C++",
}
_STANDARD = re.compile(r"(C_plus_plus|C|Fortran|ObjC|Ada|Cobol)_?(\d\d)?")

_BY_EXPORT = {
    "go_scheduler": ("Go", "TinyGo"),
    "tinygo_getCurrentStack": ("Go", "TinyGo"),
    "__pin": ("AssemblyScript", "asc"),
    "__rtti_base": ("AssemblyScript", "asc"),
    "hs_init": ("Haskell", "GHC"),
    "emscripten_stack_get_end": ("C", "Emscripten"),
    "emscripten_stack_init": ("C", "Emscripten"),
    "mono_wasm_load_runtime": ("C#", ".NET"),
    "swift_release": ("Swift", "swiftc"),
    "rust_eh_personality": ("Rust", "rustc"),
}
_BY_IMPORT = {
    "gojs": ("Go", "Go cmd/compile"),
    "go": ("Go", "Go cmd/compile"),
    "__wbindgen_placeholder__": ("Rust", "rustc"),
    "wbg": ("Rust", "wasm-bindgen"),
    "dart2wasm": ("Dart", "dart2wasm"),
    "teavm": ("Java", "TeaVM"),
    "teavmMath": ("Java", "TeaVM"),
    "js_code": ("Kotlin", "Kotlin/Wasm"),
    "javascript_kit": ("Swift", "swiftc"),
    "moonbit:ffi": ("MoonBit", "moon"),
    "javy_quickjs_provider_v1": ("JavaScript", "Javy"),
    "javy_quickjs_provider_v2": ("JavaScript", "Javy"),
    "javy_quickjs_provider_v3": ("JavaScript", "Javy"),
}
_BY_SECTION = {
    "custom go:buildid": ("Go", "Go cmd/compile"),
    "custom componentize-js": ("JavaScript", "componentize-js"),
    "custom wasmedge": ("", "WasmEdge's compiler"),
    "custom linking": ("", "an object file: it is not linked yet"),
}
_BY_NAME = {"componentize_py_runtime.wasm": ("Python", "componentize-py")}
"""By a name that a module within has of itself."""
_STRINGS: tuple[tuple[bytes, str, str, re.Pattern[bytes]], ...] = (
    (b"/rustc-", "Rust", "rustc", re.compile(rb"/rustc-([\d.]+)")),
    (b"/rustc/", "Rust", "rustc", re.compile(rb"/rustc/([0-9a-f]{9})")),
    (b"library/std/src/", "Rust", "rustc", re.compile(rb"(?!)")),
    (b"RUST_BACKTRACE", "Rust", "rustc", re.compile(rb"(?!)")),
    (b"panic: runtime error: ", "Go", "", re.compile(rb"(?!)")),
    (b"System.Private.CoreLib", "C#", ".NET", re.compile(rb"(?!)")),
)
_RUNTIMES: tuple[tuple[bytes, str, re.Pattern[bytes]], ...] = (
    (b"PYTHONHOME", "CPython", re.compile(rb"(?<=\0)(3\.\d{1,2}\.\d{1,2}[a-z0-9+]{0,8})\0")),
    (b"RUBYOPT", "CRuby", re.compile(rb"ruby (\d\.\d{1,2}\.\d{1,2}) \(")),
    (b"SpiderMonkey", "SpiderMonkey", re.compile(rb"(?!)")),
    (b"QuickJS", "QuickJS", re.compile(rb"(?!)")),
    (b"$LuaVersion: ", "Lua", re.compile(rb"\$LuaVersion: Lua (\d[\d.]*)")),
    (b"zend_", "PHP", re.compile(rb"(?!)")),
    (b"PERL5LIB", "Perl", re.compile(rb"(?!)")),
    (b"SQLite format 3", "SQLite", re.compile(rb"(?!)")),
)


def read_origin(found: WasmFile, marks: "Marks") -> Origin:
    """Tell where a file comes from, nested ones included. Raises OSError from reading."""
    languages, tools = _produced(found)
    for language, tool in (_BY_NAME[each.name] for each in found.walk() if each.name in _BY_NAME):
        # Those of the interpreter's own modules come behind.
        languages, tools = [Tool(language), *languages], [Tool(tool), *tools]
    by = "producers" if languages or tools else ""
    strings = marks.of(found)
    if not languages:
        marked_languages, marked_tools = _marked(found, strings)
        if marked_languages or marked_tools:
            languages, tools = marked_languages, tools + marked_tools
            by = by or "marks"
    runtime = next((Tool(*each) for each in strings.items() if each[0] in _RUNTIME_NAMES), None)
    return Origin(_unique(languages), _unique(tools), runtime, by)


def spelled(language: str) -> str:
    """A language of a `producers` section as people write it: "C_plus_plus_14" is C++14."""
    match = _STANDARD.fullmatch(language)
    if match is None:
        return language.replace("_", " ")
    name, standard = match.groups()
    return f"{_SPELLINGS.get(name, name)}{standard or ''}"


def _produced(found: WasmFile) -> tuple[list[Tool], list[Tool]]:
    languages: list[Tool] = []
    tools: list[Tool] = []
    for file in found.walk():
        for line in file.producers:
            if line.field == "language":
                languages.append(Tool(spelled(line.name), line.version))
            else:
                tools.append(Tool(line.name, line.version))
    return languages, tools


def _marked(found: WasmFile, strings: dict[str, str]) -> tuple[list[Tool], list[Tool]]:
    marks: list[tuple[str, str]] = []
    for file in found.walk():
        marks += (_BY_EXPORT[item.name] for item in file.exports if item.name in _BY_EXPORT)
        marks += (_BY_IMPORT[item.module] for item in file.imports if item.module in _BY_IMPORT)
        marks += (_BY_SECTION[part.name] for part in file.sections if part.name in _BY_SECTION)
        marks += (("Swift", "swiftc") for item in file.exports if item.name.startswith("$s"))
        marks += (("AssemblyScript", "asc") for item in file.imports if _is_abort(item))
    languages = [Tool(language) for language, _ in marks if language]
    tools = [Tool(tool) for _, tool in marks if tool]
    for mark, language, tool, _ in _STRINGS:
        version = strings.get(mark.decode())
        if version is not None:
            languages.append(Tool(language))
            tools += [Tool(tool, version)] if tool else []
    return languages, tools


def _is_abort(item: Import) -> bool:
    """Whether it is what AssemblyScript calls with a message, a file, a line and a column."""
    parameters = item.type.parameters if item.type else ()
    return (item.module, item.name, len(parameters)) == ("env", "abort", 4)


_RUNTIME_NAMES = frozenset(name for _, name, _ in _RUNTIMES)


class Marks:
    """Looks for strings in the data of a file's modules, once for each of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._found: dict[int, dict[str, str]] = {}

    def of(self, found: WasmFile) -> dict[str, str]:
        """Marks of languages and names of runtimes in a file and what is nested in it.

        With their versions, as far as they are told. Raises OSError from reading.
        """
        merged: dict[str, str] = {}
        for module in found.walk():
            for section in data_sections(module):
                if section.start not in self._found:
                    self._found[section.start] = self._look(section)
                for name, version in self._found[section.start].items():
                    merged[name] = merged.get(name) or version
        return merged

    def _look(self, section: Section) -> dict[str, str]:
        seen: dict[str, str] = {}
        for _, window in windows(self._file, section, _LONGEST):
            for mark, name, version in _SOUGHT:
                if not seen.get(name) and (name in seen or mark in window):
                    match = version.search(window)
                    seen[name] = match[1].decode(errors="replace") if match else ""
        return seen


_SOUGHT = (*((mark, mark.decode(), version) for mark, _, _, version in _STRINGS), *_RUNTIMES)
"""What is looked for, what it is called, and what finds its version."""


def _unique(tools: list[Tool]) -> tuple[Tool, ...]:
    """Each once; one without a version not at all if the same is there with one."""
    versions: dict[str, dict[str, None]] = {}
    for tool in tools:
        versions.setdefault(tool.name, {})[tool.version] = None
    return tuple(
        Tool(name, version)
        for name, known in versions.items()
        for version in known
        if version or len(known) == 1
    )
