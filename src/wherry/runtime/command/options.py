"""Command lines as runc and crun take them: options first, `--name VALUE` or `--name=VALUE`."""

import os

from wherry.runtime.exits import LaunchError

USAGE_ERROR = 1
"""The exit status of a command that was called wrongly, or that failed: runc's."""


class UsageError(LaunchError):
    """The command line is not one this command takes."""

    def __init__(self, message: str) -> None:
        super().__init__(message, USAGE_ERROR)


class Arguments:
    """A command line taken apart: the options given, and `rest`, what follows them."""

    def __init__(self, given: list[str], *, values: str = "", switches: str = "") -> None:
        """`values` and `switches` name the options that exist, with "|" between synonyms.

        The first name is the one to ask for. Raises UsageError.
        """
        self._values: dict[str, list[str]] = {}
        known = {name: names.split("|")[0] for names in values.split() for name in names.split("|")}
        flags = {n: names.split("|")[0] for names in switches.split() for n in names.split("|")}
        left = iter(given)
        self.rest: list[str] = []
        for word in left:
            if word == "--" or word == "-" or not word.startswith("-"):
                self.rest = [*([] if word == "--" else [word]), *left]
                break
            name, has_value, value = word.lstrip("-").partition("=")
            if name in known:
                if not has_value:
                    following = next(left, None)
                    if following is None:
                        raise UsageError(f"{word} needs a value")
                    value = following
                self._values.setdefault(known[name], []).append(value)
            elif name in flags and value in ("", "true", "false"):
                if value != "false":
                    self._values[flags[name]] = ["true"]
            else:
                raise UsageError(f"there is no option {word}")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def value(self, name: str, default: str = "") -> str:
        """The value of option `name` that was given last."""
        return self._values.get(name, [default])[-1]

    def values(self, name: str) -> list[str]:
        """All values of option `name`, which may be given many times."""
        return self._values.get(name, [])

    def identifier(self) -> str:
        """The one container id that the rest is. Raises UsageError."""
        if len(self.rest) != 1:
            raise UsageError(f"one container id is needed, not {len(self.rest)} arguments")
        return self.rest[0]


class Options:
    """What stands before the command's name, and holds for every command.

    `line` is the whole command line, for the Linux runtime it may have to be handed to.
    """

    def __init__(self, line: list[str]) -> None:
        """Take `line` apart. Raises UsageError."""
        self.line = line
        # What these say of cgroups and checkpoints changes nothing here.
        given = Arguments(
            line,
            values="root log log-format rootless cgroup-manager criu",
            switches="debug systemd-cgroup help|h version|v",
        )
        self.root = os.path.abspath(given.value("root") or _default_root())
        self.names_root = "root" in given
        self.log = given.value("log")
        self.log_format = given.value("log-format", "text")
        self.debug = "debug" in given
        self.systemd_cgroup = (
            "systemd-cgroup" in given or given.value("cgroup-manager") == "systemd"
        )
        if self.log_format not in ("text", "json"):
            raise UsageError(f"--log-format is text or json, not {self.log_format!r}")
        self.command, self.arguments = "", given.rest
        if "version" in given:
            self.command = "version"
        elif "help" in given:
            self.command = "help"
        elif given.rest:
            self.command, *self.arguments = given.rest


def making_arguments(options: Options) -> Arguments:
    """What was given to `create` or `run`. Raises UsageError.

    What callers say about keyrings, subreapers and how to change the root is of no use here.
    """
    return Arguments(
        options.arguments,
        values="bundle|b console-socket pid-file preserve-fds",
        switches="no-pivot no-new-keyring no-subreaper detach|d keep",
    )


def _default_root() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and (os.geteuid() != 0 or not os.access("/run", os.W_OK)):
        return f"{runtime}/wherry-runtime"
    return "/run/wherry-runtime"
