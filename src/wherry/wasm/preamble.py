"""The first eight bytes, which tell modules, components and text apart."""

from wherry.wasm.errors import InvalidWasm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

MAGIC = b"\0asm"
SIZE = 8

DEFERRED_START = "wherry:start"
"""The name under which `defer_start` exports what was a module's start function."""


def sniff(head: bytes) -> "Literal['module', 'component', 'text'] | None":
    """Tell what a file is by its beginning; None when it is not Wasm.

    Eight bytes decide, except for text, which may begin with space and `;;` comments: give it a
    few hundred. (Core spec 5.5.16; component-model Binary.md, "Component Definitions".)
    """
    if head.startswith(MAGIC):
        if head[4:SIZE] == b"\1\0\0\0":
            return "module"
        return "component" if head[6:SIZE] == b"\1\0" else None
    rest = head.lstrip(b" \t\r\n")
    while rest.startswith(b";;"):
        rest = rest.partition(b"\n")[2].lstrip(b" \t\r\n")
    after = rest[1:2]
    is_text = rest.startswith(b"(") and (after.islower() or after in (b"", b";", b"@", b" ", b"\n"))
    return "text" if is_text else None


def binary_kind(head: bytes) -> "Literal['module', 'component']":
    """Tell a module from a component. Raises InvalidWasm for what is neither."""
    kind = sniff(head)
    if kind == "module" or kind == "component":
        return kind
    if not head:
        raise InvalidWasm("the file is empty")
    if len(head) < SIZE and MAGIC.startswith(head[:4]):
        raise InvalidWasm(f"the file ends after {len(head)} bytes, within its preamble")
    if head.startswith(MAGIC):
        version = int.from_bytes(head[4:6], "little")
        layer = int.from_bytes(head[6:8], "little")
        raise InvalidWasm(f"version {version} of layer {layer} of the binary format is not known")
    raise InvalidWasm(f"it begins with {head[:4].hex(' ')}, where Wasm has 00 61 73 6d")
