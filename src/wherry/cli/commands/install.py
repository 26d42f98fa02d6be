"""`install TARGET` and `uninstall TARGET`: wherry put into other engines, and taken out again."""

from __future__ import annotations

import os
import subprocess
import sys

from wherry.cli.command import Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import many, switch, text
from wherry.install import Host, InstallError, Options, Plan, plan_uninstall
from wherry.install.ledger import FOLDER, Ledger
from wherry.install.package import command_line
from wherry.install.podman import plan_podman_of_user
from wherry.places import own_data_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.cli.command import Action
    from wherry.cli.flags import Arguments, Flag
    from wherry.cli.session import Session

    Planner = Callable[[Host, Options], Plan]

_SECONDS = 120


def _install(target: str) -> Action:
    def act(session: Session, arguments: Arguments) -> int:
        def plan() -> Plan:
            if _for_user(arguments):
                return plan_podman_of_user(_options(arguments))
            return _planner(target)(Host(arguments.text("root")), _options(arguments))

        return _perform(session, arguments, f"install {target}", plan)

    return act


def _uninstall(target: str) -> Action:
    def act(session: Session, arguments: Arguments) -> int:
        def plan() -> Plan:
            return plan_uninstall(
                Host(arguments.text("root")),
                target,
                force=arguments.switch("force"),
                folder=_ledger_folder(arguments),
            )

        return _perform(session, arguments, f"uninstall {target}".rstrip(), plan)

    return act


def _planner(target: str) -> Planner:
    if target == "docker":
        from wherry.install.docker import plan_install
    elif target == "containerd":
        from wherry.install.containerd import plan_install
    elif target == "podman":
        from wherry.install.podman import plan_podman as plan_install
    else:
        from wherry.install.podman import plan_crio as plan_install
    return plan_install


def _perform(session: Session, arguments: Arguments, command: str, draw: Callable[[], Plan]) -> int:
    try:
        if arguments.switch("dry-run"):
            return _show(session, draw())
        _need_root(arguments, command)
        ledger = Ledger(Host(arguments.text("root")), _ledger_folder(arguments))
        with ledger.locked():
            return _carry_out(session, arguments, draw())
    except InstallError as error:
        raise CommandError(str(error)) from None


def _show(session: Session, plan: Plan) -> int:
    """What would be done, a diff of each file and all."""
    _tell(session, plan)
    session.write(plan.draft.show())
    for question in plan.questions:
        session.write_line(f"to be confirmed: {question}")
    for words in plan.restart:
        session.write_line(f"to be run after that: {' '.join(words)}")
    if not plan.changes_anything and not plan.restart:
        session.write_line("nothing to do, everything is in place")
    session.write_line("nothing has been changed")
    return 0


def _carry_out(session: Session, arguments: Arguments, plan: Plan) -> int:
    _tell(session, plan)
    done = [change.tell() for change in plan.draft.changes]
    if plan.changes_anything and plan.questions and not arguments.switch("yes"):
        if not sys.stdin.isatty():
            raise CommandError(f"{' '.join(plan.questions)} Say --yes to agree")
        if not session.confirm("\n".join(plan.questions)):
            raise CommandError("nothing has been changed")
    plan.carry_out()
    for line in done:
        session.write_line(line)
    if not plan.changes_anything and not plan.restart:
        session.write_line("nothing to do, everything is in place")
    code = _restart(session, arguments, plan)
    for line in plan.then:
        session.write_line(f"then: {line}")
    return code


def _tell(session: Session, plan: Plan) -> None:
    for line in plan.notes:
        session.write_line(line)
    for line in plan.warnings:
        session.complain(f"warning: {line}")


def _restart(session: Session, arguments: Arguments, plan: Plan) -> int:
    """Have the engine read its configuration again, or say how; the exit code."""
    code = 0
    for words in plan.restart:
        argv, line = words, " ".join(words)
        if not arguments.switch("restart"):
            session.write_line(f"now restart it: {line}")
            continue
        if arguments.text("root") != "/":
            # A DaemonSet, which sees the machine's processes: process 1 is in its namespaces.
            argv = ["nsenter", "--target", "1", "--mount", "--", *words]
        elif not os.path.isdir("/run/systemd/system"):
            session.complain(f"systemd does not run here: restart it by hand ({line})")
            code = 1
            continue
        try:
            done = subprocess.run(argv, check=False, timeout=_SECONDS, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            session.complain(f"{line}: {error}")
            code = 1
            continue
        if done.returncode:
            session.complain(f"{line}: failed; see 'journalctl -xe'")
            code = 1
        else:
            session.write_line(f"restarted: {line}")
    return code


def _options(arguments: Arguments) -> Options:
    also = [name for text in arguments.many("also") for name in text.split(",") if name]
    folder = arguments.text("bin")
    if not folder.startswith("/"):
        raise UsageError(f"--bin {folder}: an absolute path is needed", 125)
    return Options(
        bin=folder.rstrip("/") or "/",
        also=tuple(dict.fromkeys(also)),
        force=arguments.switch("force"),
        config=arguments.text("config") if arguments.has("config") else "",
    )


def _need_root(arguments: Arguments, command: str) -> None:
    if os.geteuid() and not _for_user(arguments) and arguments.text("root") == "/":
        raise InstallError(
            f"needs root: {command_line(command)}; --dry-run shows what it would do, without root"
        )


def _for_user(arguments: Arguments) -> bool:
    return arguments.has("user") and arguments.switch("user")


def _ledger_folder(arguments: Arguments) -> str:
    if not _for_user(arguments):
        return FOLDER
    return own_data_folder()


_ROOT = text("root", "", "The machine's files are in this folder", metavar="DIR", default="/",
             complete="directory")  # fmt: skip
_COMMON = (
    switch("dry-run", "", "Show every file and line, change nothing; needs no root"),
    _ROOT,
)
_RESTART = switch("restart", "", "Restart the engine by systemctl when something changed")
_YES = switch("yes", "y", "Agree to what would be asked")
_PLACES = (
    many("also", "", "Answer to these shims' names, too", metavar="NAME[,NAME]",
         complete=("wasmedge", "wasmtime", "wasmer")),
    text("bin", "", "Folder on the PATH of the daemon", metavar="DIR",
         default="/usr/local/bin", complete="directory"),
    switch("force", "", "Even where others may write to wherry, and over files that were changed"),
)  # fmt: skip
_USER = switch("user", "", "For your own Podman only; needs no root")


def _config(default: str) -> Flag:
    return text("config", "", f"Its configuration (default {default})", metavar="FILE",
                complete="file")  # fmt: skip


DOCKER = Command(
    _install("docker"),
    "Put wherry into Docker",
    flags=(*_COMMON, *_PLACES, _config("/etc/docker/daemon.json"), _RESTART, _YES),
    detail="Then: docker run --runtime=io.containerd.wherry.v1 --platform=wasi/wasm IMAGE",
    examples=(
        "wherry install docker --dry-run        # see what it would change",
        "wherry install docker --restart",
        "wherry install docker --also wasmedge,wasmtime",
    ),
)
CONTAINERD = Command(
    _install("containerd"),
    "Put wherry into containerd, also as a runtime handler for Kubernetes",
    flags=(*_COMMON, *_PLACES, _config("/etc/containerd/config.toml"), _RESTART, _YES),
    detail="Then: ctr run --runtime io.containerd.wherry.v1 --platform wasi/wasm IMAGE ID",
)
PODMAN = Command(
    _install("podman"),
    "Put wherry into Podman and Buildah",
    flags=(*_COMMON, *_PLACES, _USER, _RESTART, _YES),
    detail="Then: podman --runtime wherry run --platform wasi/wasm IMAGE",
)
CRIO = Command(
    _install("cri-o"),
    "Put wherry into CRI-O as a runtime handler",
    flags=(*_COMMON, *_PLACES, _RESTART, _YES),
)

_REMOVAL = (
    *_COMMON,
    switch("force", "", "Even while containers run, and files that were changed since"),
    _RESTART,
    _YES,
)
UNDOCKER = Command(_uninstall("docker"), "Take wherry out of Docker", flags=_REMOVAL)
UNCONTAINERD = Command(_uninstall("containerd"), "Take wherry out of containerd", flags=_REMOVAL)
UNPODMAN = Command(
    _uninstall("podman"), "Take wherry out of Podman and Buildah", flags=(*_REMOVAL, _USER)
)
UNCRIO = Command(_uninstall("cri-o"), "Take wherry out of CRI-O", flags=_REMOVAL)
UNALL = Command(_uninstall(""), "Take wherry out of everything it was put into", flags=_REMOVAL)
