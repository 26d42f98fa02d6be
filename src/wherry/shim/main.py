"""The command `containerd-shim-wherry-v1`, when its fast path cannot answer.

containerd calls it as `-namespace NS -address SOCKET -publish-binary PROGRAM -id ID start` (the
working folder is the bundle), `… -bundle PATH delete`, `-info` and `-v`.
"""

import os
import sys
from collections.abc import Sequence

from wherry import __version__
from wherry.interpreter import forgo
from wherry.shim.places import COMMAND, CommandError

_PREFIX = "containerd-shim-"
_VALUES = frozenset(
    ("namespace", "address", "publish-binary", "id", "bundle", "socket", "debug-socket")
)
_SWITCHES = frozenset(("debug", "v", "version", "info", "h", "help"))
_USAGE = f"{COMMAND} -namespace NS -address SOCKET -id ID [-bundle PATH] start|delete"


def main() -> None:
    """Run the command; its errors go to stderr, where containerd reads them."""
    # asyncio, hashlib and msgspec do without these, which would cost each shim 8 MB.
    forgo("ssl", "_hashlib", "typing_extensions")
    try:
        output = _run(sys.argv[1:])
    except CommandError as error:
        print(f"wherry-shim: {error}", file=sys.stderr)
        sys.exit(1)
    sys.stdout.buffer.write(output)
    sys.stdout.flush()
    # Whatever was imported needs no tidying up.
    os._exit(0)


def _run(arguments: Sequence[str]) -> bytes:
    """What the command prints."""
    flags, actions = parse_flags(arguments)
    if "v" in flags or "version" in flags:
        return f"{COMMAND} {__version__}\n".encode()
    if "info" in flags:
        return _info()
    if "h" in flags or "help" in flags:
        return f"usage: {_USAGE}\n".encode()
    if actions == ["start"]:
        from wherry.shim.start import start

        namespace, address, events = _whereabouts(flags)
        return start(namespace, address, events).encode()
    if actions == ["delete"]:
        from wherry.shim.cleanup import delete

        bundle = flags.get("bundle") or os.getcwd()
        namespace, address = flags.get("namespace", ""), flags.get("address", "")
        answer = delete(namespace, address, flags.get("id", ""), bundle)
        return b"" if answer is None else answer.encode()
    raise CommandError(f"expected start or delete: {_USAGE}")


def parse_flags(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Flags and actions of a command line, as Go's flag package reads them. Raises CommandError."""
    flags: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        name, equals, value = rest.pop(0).removeprefix("-").removeprefix("-").partition("=")
        if name in _VALUES:
            if not equals:
                if not rest:
                    raise CommandError(f"flag -{name} needs a value")
                value = rest.pop(0)
        elif name not in _SWITCHES:
            raise CommandError(f"there is no flag -{name}: {_USAGE}")
        flags[name] = value
    return flags, rest


def _whereabouts(flags: dict[str, str]) -> tuple[str, str, str]:
    """Namespace, containerd's address and that of its events, from wherever they are told."""
    namespace, address = flags.get("namespace", ""), flags.get("address", "")
    events = os.environ.get("TTRPC_ADDRESS", "")
    if not namespace or not events:
        from wherry.shim.messages import BootstrapParams
        from wherry.shim.protobuf import InvalidMessage

        try:
            params = BootstrapParams.decode(sys.stdin.buffer.read(1 << 20))
        except InvalidMessage as error:
            raise CommandError(f"stdin: {error}") from None
        namespace = namespace or params.namespace
        address = address or params.containerd_grpc_address
        events = events or params.containerd_ttrpc_address
    if not namespace:
        raise CommandError(f"flag -namespace is missing: {_USAGE}")
    return namespace, address, events


def _info() -> bytes:
    from wherry.shim.messages import RuntimeInfo, RuntimeVersion

    # Links may let it answer for another shim, by whose name it is then asked for.
    command = os.environ.get("WHERRY_SHIM", COMMAND)
    name, _, version = (command if command.startswith(_PREFIX) else COMMAND).rpartition("-")
    runtime = f"io.containerd.{name.removeprefix(_PREFIX)}.{version}"
    return RuntimeInfo(name=runtime, version=RuntimeVersion(version=__version__)).encode()


if __name__ == "__main__":
    main()
