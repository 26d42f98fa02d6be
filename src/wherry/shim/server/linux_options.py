"""What containerd's configuration says of the Linux runtime. Imported with the first that needs it.

`ctr --runc-binary` and Docker's daemon.json send runc.v1.Options. The CRI sends to a shim it does
not know runtimeoptions.v1.Options, with the same names in TOML: the text of the `options` section
(containerd 1.7 and later), or the path of a file. There `Programs = "wasm"` forbids Linux programs.
"""

import tomllib

from wherry.runtime.linux.options import LinuxOptions
from wherry.shim.protobuf import Any, InvalidMessage, Message, boolean, data, string

_MAX_FILE = 1 << 20


class OptionsError(Exception):
    """The options cannot be read. The message is one line."""


class RuncOptions(Message):
    """containerd.runc.v1.Options, as far as it makes a difference here."""

    no_pivot_root: bool = boolean(1)
    no_new_keyring: bool = boolean(2)
    binary_name: str = string(6)
    systemd_cgroup: bool = boolean(9)


class GenericOptions(Message):
    """runtimeoptions.v1.Options."""

    type_url: str = string(1)
    config_path: str = string(2)
    config_body: bytes = data(3)


def read_options(options: Any | None) -> LinuxOptions:
    """The options of a CreateTaskRequest; of any other type they say nothing.

    Raises OptionsError.
    """
    if options is None:
        return LinuxOptions()
    kind = options.type_url.rpartition("/")[2]
    try:
        if kind == "containerd.runc.v1.Options":
            found = RuncOptions.decode(options.value)
            return LinuxOptions(
                program=found.binary_name,
                systemd_cgroup=found.systemd_cgroup,
                no_pivot_root=found.no_pivot_root,
                no_new_keyring=found.no_new_keyring,
            )
        if kind == "runtimeoptions.v1.Options":
            return _parse(_text(GenericOptions.decode(options.value)))
    except (InvalidMessage, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionsError(f"the runtime's options: {error}") from None
    except OSError as error:
        raise OptionsError(f"the runtime's options, {error.filename}: {error.strerror}") from None
    return LinuxOptions()


def _text(options: GenericOptions) -> str:
    if options.config_body or not options.config_path:
        return options.config_body.decode()
    with open(options.config_path, "rb") as file:
        return file.read(_MAX_FILE).decode()


def _parse(text: str) -> LinuxOptions:
    table = tomllib.loads(text)
    program = table.get("BinaryName", "")
    if not isinstance(program, str):
        raise OptionsError("the runtime's options: BinaryName is not a text")
    programs = table.get("Programs", "any")
    if programs not in ("any", "wasm"):
        raise OptionsError('the runtime\'s options: Programs is neither "any" nor "wasm"')
    switches = [table.get(name, False) for name in ("SystemdCgroup", "NoPivotRoot", "NoNewKeyring")]
    if not all(isinstance(switch, bool) for switch in switches):
        raise OptionsError("the runtime's options: a switch is neither true nor false")
    return LinuxOptions(program, *switches)._replace(wasm_only=programs == "wasm")
