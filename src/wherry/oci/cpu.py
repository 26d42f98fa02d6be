"""What this machine's CPU can do beyond its architecture, as a platform's variant tells it.

Read from the kernel's list of features: an image for amd64/v3 must not be taken where AVX2 is not.
"""

from functools import cache

from msgspec.structs import replace

from wherry.oci.platform import HOST, Platform

_LEVELS = (
    ("v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("v3", "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    ("v4", "avx512bw avx512cd avx512dq avx512f avx512vl"),
)
"""x86-64 psABI, "Microarchitecture levels", in the words of /proc/cpuinfo; each has all before."""

_CPUINFO = "/proc/cpuinfo"
_LIMIT = 1 << 20


@cache
def native() -> Platform:
    """This machine's Linux platform with the newest variant that its CPU has.

    For choosing among images: their `rank` for it puts the most that the CPU can run first.
    """
    if HOST.architecture != "amd64":
        return HOST
    try:
        with open(_CPUINFO) as file:
            text = file.read(_LIMIT)
    except OSError:
        return HOST
    return replace(HOST, variant=amd64_level(text))


def amd64_level(cpuinfo: str) -> str:
    """The level of a CPU ("v1" is every one) by what the kernel tells of its features."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((set(value.split()) for name, _, value in lines if name.strip() == "flags"), set())
    level = "v1"
    for name, needed in _LEVELS:
        if not flags.issuperset(needed.split()):
            break
        level = name
    return level
