"""The look inside a module or component, as a person reads it: `wherry inspect --wasm`."""

from __future__ import annotations

import textwrap

from wherry.cli.printable import printable
from wherry.cli.terminal import window_size
from wherry.cli.units import binary_size, decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_WIDTH = 100
"""Columns where there is no terminal."""
_LABEL = 12
"""Columns of what a line is about."""
_MEANING = 27
_MOST = 60
"""Names of one kind that are shown; JSON has them all."""

_ENTRIES = {
    "command": "a command, which is run once",
    "http": "a handler of HTTP requests",
    "reactor": "a reactor: its functions are called by a host that knows them",
    "library": "a library: nothing in it is run by itself",
}
_ENGINES = {"embedded": "the embedded engine", "wasmtime": "the wasmtime command"}
_METADATA = ("Version", "Description", "Authors", "Licenses", "Source", "Homepage", "Revision")


def render(anatomy: Any) -> str:
    """The text for one document that `wherry.wasm.dissect` made, or the engine."""
    return "".join(f"{line}\n" for line in _Text(anatomy).lines())


class _Text:
    def __init__(self, anatomy: Any) -> None:
        self._anatomy = anatomy
        self._width = window_size()[1] or _WIDTH

    def lines(self) -> Iterator[str]:
        each = self._anatomy
        yield clean(each["Path"] or each["Name"] or "module")
        yield from self._summary()
        yield from self._imports()
        yield from self._exports()
        yield from self._limits()
        yield from self._sections()
        yield from self._packages()
        yield from self._nested()
        if each["Others"]:
            yield from self._part("Beside it", ", ".join(map(clean, each["Others"][:_MOST])))

    def _summary(self) -> Iterator[str]:
        each = self._anatomy
        form = " as text" if each["IsText"] else ""
        yield from self._part("Kind", f"{each['Kind']}{form}, {decimal_size(each['Size'], 3)}")
        if each["Digest"]:
            yield from self._part("Digest", each["Digest"])
        if each["Name"] and each["Path"]:
            yield from self._part("Name", clean(each["Name"]))
        for key in _METADATA:
            if each["Metadata"][key]:
                yield from self._part(key, clean(each["Metadata"][key]))
        yield from self._part("Language", self._language())
        if each["Tools"]:
            yield from self._part("Made by", ", ".join(map(_tool, each["Tools"])))
        yield from self._part("Made for", each["Target"])
        yield from self._part("Program", self._program())
        verdict = each["Verdict"]
        if verdict and verdict["Can"]:
            yield from self._part("Runs here", f"yes, by {_ENGINES[verdict['Engine']]}")
        elif verdict:
            yield from self._part("Runs here", f"no: {clean(verdict['Reason'])}")

    def _language(self) -> str:
        each = self._anatomy
        told = ", ".join(map(_tool, each["Languages"])) or "not told"
        if each["Runtime"]:
            told += f"; {_tool(each['Runtime'])} is inside"
        if each["KnownBy"] == "marks" and each["Languages"]:
            told += " (by marks in it: it has no producers section)"
        return told

    def _program(self) -> str:
        each = self._anatomy
        told = _ENTRIES.get(each["Entry"], each["Entry"])
        start = next(
            (
                item["Name"]
                for item in each["Exports"]
                if item["Name"] in ("_start", "_initialize")
                or item["Name"].startswith(("wasi:cli/run", "wasi:http/"))
            ),
            "",
        )
        if start:
            told += f" ({clean(start)})"
        return f"{told}; has a start function" if each["HasStart"] else told

    def _imports(self) -> Iterator[str]:
        groups = self._anatomy["Imports"]
        if not groups:
            return
        yield ""
        yield f"Imports, {sum(len(group['Items']) for group in groups)}"
        for group in groups:
            if group["Meaning"] == "unknown":
                yield from self._unknown(group["Items"])
                continue
            names = _some([*dict.fromkeys(_import_name(item) for item in group["Items"])])
            told = f"{group['Detail']}: {names}" if group["Detail"] else names
            yield from self._part(group["Meaning"], told, _MEANING)

    def _unknown(self, items: list[Any]) -> Iterator[str]:
        """What no engine gives, by whose it is."""
        origins: dict[tuple[str, str], list[str]] = {}
        for item in items:
            origins.setdefault((item["Module"], item["Origin"]), []).append(item["Name"])
        for (module, origin), names in origins.items():
            known = f" [{clean(origin)}]" if origin else ""
            start = f"{clean(module)}: " if module else ""
            told = f"{start}{_some([*map(clean, dict.fromkeys(names))])}{known}"
            yield from self._part("unknown", told, _MEANING)

    def _exports(self) -> Iterator[str]:
        exports = self._anatomy["Exports"]
        if not exports:
            return
        yield ""
        yield f"Exports, {len(exports)}"
        kinds: dict[str, list[str]] = {}
        for item in exports:
            kinds.setdefault(item["Kind"], []).append(clean(item["Name"]))
        for kind, names in kinds.items():
            yield from self._part(kind, _some(names))

    def _limits(self) -> Iterator[str]:
        each = self._anatomy
        yield ""
        for memory in each["Memories"]:
            yield from self._part("Memory", _memory(memory))
        for table in each["Tables"]:
            most = "no limit" if table["Maximum"] is None else f"at most {table['Maximum']}"
            yield from self._part("Table", f"{table['Minimum']} of {table['Type']}, {most}")
        used = ", ".join(each["Features"]) or "nothing that was added to WebAssembly 1.0"
        if not each["FeaturesComplete"]:
            used += " (not all of its code could be looked at)"
        yield from self._part("Uses", used)

    def _sections(self) -> Iterator[str]:
        each = self._anatomy
        if not each["Sections"]:
            return
        yield ""
        yield "Sections"
        merged: dict[str, list[int]] = {}
        for section in each["Sections"]:
            counted = merged.setdefault(section["Name"], [0, 0])
            counted[0] += section["Size"]
            counted[1] += section["Items"] or 0
        longest = max(len(clean(name)) for name in merged)
        for name, (size, items) in merged.items():
            share = f"{100 * size / max(1, each['Size']):.1f} %"
            count = f"   {items} item{'' if items == 1 else 's'}" if items else ""
            line = f"  {clean(name):<{longest}}  {decimal_size(size, 3):>8}  {share:>7}{count}"
            yield line.rstrip()

    def _packages(self) -> Iterator[str]:
        packages = [each for each in self._anatomy["Packages"] if not each["IsBuild"]]
        if not packages:
            return
        yield ""
        yield f"Built of, {len(packages)} packages of {packages[0]['Ecosystem']}"
        yield from self._wrapped("  ", _some([_tool(each) for each in packages]))

    def _nested(self) -> Iterator[str]:
        nested = [each for each in self._anatomy["Nested"] if each["Sections"]]
        if not nested:
            return
        yield ""
        yield f"Within, {len(nested)}"
        for each in nested:
            told = [f"{each['Kind']}, {decimal_size(each['Size'], 3)}"]
            told += [_tool(tool) for tool in (*each["Languages"], *each["Tools"])]
            name = clean(each["Name"]) or "(no name)"
            yield from self._part(name, ", ".join(told), _MEANING + 7)

    def _part(self, label: str, text: str, columns: int = _LABEL) -> Iterator[str]:
        yield from self._wrapped(f"  {label:<{columns - 1}} ", text, " " * (columns + 2))

    def _wrapped(self, start: str, text: str, further: str = "") -> Iterator[str]:
        yield from textwrap.wrap(
            text,
            max(self._width, 60),
            initial_indent=start,
            subsequent_indent=further or " " * len(start),
            break_on_hyphens=False,
            break_long_words=False,
        ) or [start.rstrip()]


def clean(text: str) -> str:
    """A text out of a file, which must not command the terminal."""
    return printable(text[:200])


def _tool(tool: Any) -> str:
    name, version = clean(tool["Name"]), clean(tool["Version"])
    if version.lower().startswith(name.lower()):
        version = version[len(name) :]
    return f"{name} {version}".strip()


def _import_name(item: Any) -> str:
    known = item["Module"] in ("", "wasi_snapshot_preview1")
    name = clean(item["Name"]) if known else f"{clean(item['Module'])}.{clean(item['Name'])}"
    return name if item["Given"] else f"{name} (not given)"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST])
    return f"{shown} and {len(names) - _MOST} more" if len(names) > _MOST else shown


def _memory(memory: Any) -> str:
    pages = memory["Minimum"]
    told = f"{pages} page{'' if pages == 1 else 's'} = {binary_size(memory['MinimumBytes'])}"
    if memory["Maximum"] is None:
        told += ", without a maximum of its own"
    else:
        told += f", at most {memory['Maximum']} = {binary_size(memory['MaximumBytes'])}"
    if memory["PageSize"] != 65536:
        told += f", pages of {memory['PageSize']} bytes"
    if memory["Shared"]:
        told += ", shared between threads"
    return f"{told}, of 64 bits" if memory["Is64"] else told
