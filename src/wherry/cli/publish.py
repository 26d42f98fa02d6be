"""`-p` and `--expose`: ports of a container, as the Engine API takes them."""

from __future__ import annotations

from wherry.cli.address import is_ip
from wherry.cli.flags import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Bindings = dict[str, list[dict[str, str]]]

PROTOCOLS = ("tcp", "udp", "sctp")
_LONGEST = 65535
_SHAPE = "write PORT, HOST_PORT:PORT or ADDRESS:HOST_PORT:PORT, ranges like 8000-8010, and /udp"


def bindings(specifications: Iterable[str]) -> Bindings:
    """`HostConfig.PortBindings` of `-p` values, by `PORT/PROTOCOL`. Raises `UsageError`."""
    out: Bindings = {}
    for text in specifications:
        address, host, first, last, protocol = _parse(_short_form(text), text)
        low, high = _range("-p", text, host) if host else (0, 0)
        count = last - first + 1
        if host and count != high - low + 1 and count != 1:
            raise invalid("-p", text, "the two ranges differ in length")
        for step in range(count):
            outside = str(low + step) if host else ""
            if host and count == 1 and low != high:
                outside = f"{low}-{high}"  # any free one of them
            binding = {"HostIp": address, "HostPort": outside}
            out.setdefault(f"{first + step}/{protocol}", []).append(binding)
    return out


def exposed(specifications: Iterable[str]) -> list[str]:
    """`PORT/PROTOCOL` for each port of `--expose` values. Raises `UsageError`."""
    out: list[str] = []
    for text in specifications:
        port, protocol = _protocol("--expose", text, text)
        first, last = _range("--expose", text, port)
        out.extend(f"{number}/{protocol}" for number in range(first, last + 1))
    return out


def _parse(short: str, text: str) -> tuple[str, str, int, int, str]:
    """Address and port of the host as written, first and last port of the container, protocol."""
    *left, inside = short.rsplit(":", 2)
    address, host = left if len(left) == 2 else ("", *left, "")[:2]
    inside, protocol = _protocol("-p", text, inside)
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address and not is_ip(address):
        raise invalid("-p", text, f"'{address}' is no address; {_SHAPE}")
    if not inside:
        raise invalid("-p", text, f"the container's port is missing; {_SHAPE}")
    return address, host, *_range("-p", text, inside), protocol


def _short_form(text: str) -> str:
    """`published=8080,target=80,protocol=tcp` as `8080:80/tcp`."""
    if "=" not in text:
        return text
    fields = {"protocol": "tcp", "published": "", "target": ""}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals or key not in (*fields, "mode"):
            raise invalid("-p", text, "the keys are published, target and protocol")
        fields[key] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _protocol(flag: str, text: str, port: str) -> tuple[str, str]:
    port, _, protocol = port.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise invalid(flag, text, f"'{protocol}' is no protocol; there are tcp, udp and sctp")
    return port, protocol


def _range(flag: str, text: str, ports: str) -> tuple[int, int]:
    """First and last port of `80` or `8000-8010`."""
    first, dash, last = ports.partition("-")
    for number in (first, last if dash else first):
        if not (number.isascii() and number.isdecimal() and int(number) <= _LONGEST):
            what = f"'{number}' is no port" if number else "a port is missing"
            raise invalid(flag, text, f"{what}; {_SHAPE if flag == '-p' else 'write 80 or 80-90'}")
    low, high = int(first), int(last if dash else first)
    if low > high:
        raise invalid(flag, text, f"the range {ports} ends before it begins")
    return low, high
