"""Whether programs for a platform can be run here, and if not, why and what to do."""

from pathlib import Path

from wherry import linux_runtime
from wherry.oci import Platform, parse_platform
from wherry.oci.cpu import native

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_MACHINES = {
    3: "386", 8: "mips64le", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64",
    243: "riscv64", 258: "loong64",
}  # fmt: skip
"""ELF's numbers of architectures (elf.h, EM_*)."""
_ELF, _AT, _BIG_ENDIAN = b"\x7fELF", 18, 2
_OPENED_BEFOREHAND = "F"


def obstacle(platform: Platform) -> str:
    """Why a program for `platform` cannot be run here, for a person; empty if it can."""
    if platform.is_wasm:
        return ""
    normal = platform.normal
    if normal.os != "linux":
        nothing = f"there is nothing here that runs {normal.os}: " if normal.os else ""
        return f"{nothing}wherry runs linux and wasi/wasm"
    if not linux_runtime.is_there():
        return f"no runtime for Linux programs is installed: {linux_runtime.HINT}"
    own = native()
    if normal.matches(own) or any(normal.matches(one) for one in emulated()):
        return ""
    return (
        f"this machine is {own}, and nothing is registered to run programs for "
        f"{normal.architecture} (apt install qemu-user-static)"
    )


def emulated(folder: Path = _BINFMT) -> list[Platform]:
    """The platforms for which an interpreter is registered that containers can use, too.

    See Documentation/admin-guide/binfmt-misc.rst: only one that the kernel opened beforehand (F)
    is found in a root filesystem without it.
    """
    found = []
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    for entry in entries:
        try:
            text = entry.read_text() if entry.name not in ("register", "status") else ""
        except OSError:
            continue
        architecture = _architecture(text)
        if architecture:
            found.append(parse_platform(f"linux/{architecture}"))
    return found


def _architecture(text: str) -> str:
    """The architecture that an entry is for; empty if it is off or for something else."""
    lines = text.splitlines()
    fields = dict(line.partition(" ")[::2] for line in lines)
    if "enabled" not in lines or _OPENED_BEFOREHAND not in fields.get("flags:", ""):
        return ""
    try:
        magic = bytes.fromhex(fields.get("magic", ""))
    except ValueError:
        return ""
    if not magic.startswith(_ELF) or len(magic) < _AT + 2 or fields.get("offset", "0") != "0":
        return ""
    order = "big" if magic[5] == _BIG_ENDIAN else "little"
    return _MACHINES.get(int.from_bytes(magic[_AT : _AT + 2], order), "")  # type: ignore[arg-type]
