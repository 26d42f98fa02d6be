"""`wherry-runtime`: the OCI runtime command, for who drives a container without a shim."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from wherry import __version__
from wherry.runtime.code import CodeCache, default_root
from wherry.runtime.exits import ENGINE_FAILED, SIGNALLED, LaunchError

_USAGE = """\
usage: wherry-runtime COMMAND

  run [--bundle DIR] ID    run the container of a bundle in the foreground
  precompile FILE...       compile modules into the cache, so that they start at once
  spec                     print a config.json to begin with
  --version
"""

_SPEC = """\
{
  "ociVersion": "1.1.0",
  "process": {
    "args": ["/main.wasm"],
    "cwd": "/",
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "user": {"uid": 0, "gid": 0}
  },
  "root": {"path": "rootfs"},
  "hostname": "wherry",
  "linux": {
    "namespaces": [
      {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}
    ]
  }
}
"""

_ENDS_CONTAINER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class _UsageError(Exception):
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its status."""
    try:
        status = _dispatch(sys.argv[1:] if arguments is None else arguments)
    except _UsageError as error:
        sys.stderr.write(f"wherry-runtime: {error}\n{_USAGE}")
        status = 2
    except LaunchError as error:
        sys.stderr.write(f"wherry-runtime: {error.message}\n")
        status = error.exit_code
    sys.stdout.flush()
    sys.exit(status)


def _dispatch(arguments: list[str]) -> int:
    match arguments:
        case ["run", *rest]:
            bundle, identifier = _parse_run(rest)
            return asyncio.run(_run(bundle, identifier))
        case ["precompile", *files] if files:
            return _precompile(files)
        case ["spec"]:
            sys.stdout.write(_SPEC)
            return 0
        case ["--version" | "-v"]:
            sys.stdout.write(f"wherry-runtime version {__version__}\nspec: 1.1.0\n")
            return 0
        case ["--help" | "-h" | "help"]:
            sys.stdout.write(_USAGE)
            return 0
    raise _UsageError(f"cannot do {' '.join(arguments)!r}" if arguments else "nothing to do")


def _parse_run(arguments: list[str]) -> tuple[str, str]:
    bundle = "."
    match arguments:
        case ["--bundle" | "-b", bundle, identifier]:
            pass
        case [option, identifier] if option.startswith("--bundle="):
            bundle = option.removeprefix("--bundle=")
        case [identifier] if not identifier.startswith("-"):
            pass
        case _:
            raise _UsageError("run takes an optional --bundle DIR and one ID")
    return os.path.abspath(bundle), identifier


async def _run(bundle: str, identifier: str) -> int:
    from wherry.runtime.launcher import CreateRequest, Launcher

    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    launcher = await Launcher.spawn(default_root())
    try:
        process = await launcher.create(
            CreateRequest(id=identifier, bundle=bundle, rootfs=(), stdin=0, stdout=1, stderr=2)
        )
    finally:
        launcher.close()
    signalled: list[int] = []

    def end(number: int) -> None:
        signalled.append(number)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)

    for number in _ENDS_CONTAINER:
        loop.add_signal_handler(number, end, number)
    loop.add_reader(process.pidfd, _resolve, ended)
    await process.start(end)
    await ended
    loop.remove_reader(process.pidfd)
    status = _reap(process.pidfd)
    await process.close()
    if status < 0:
        return SIGNALLED + (signalled[0] if signalled else -status)
    return status


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _reap(pidfd: int) -> int:
    """The exit status of an ended child; negative is the signal that ended it."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    if result is None:
        return ENGINE_FAILED
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _precompile(files: list[str]) -> int:
    cache = CodeCache(default_root())
    for name in files:
        try:
            with Path(name).open("rb") as module:
                os.close(cache.get(module.fileno(), name).descriptor)
        except OSError as error:
            raise LaunchError(f"{name}: {error.strerror}") from None
    return 0
