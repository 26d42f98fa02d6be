"""Starting a shim the way containerd does."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

_NAME = re.compile(r"io\.containerd\.([a-z0-9_-]+)\.v([0-9]+)")
_PATIENCE = 30.0
_LIMIT = 64 << 10


class ShimError(Exception):
    """A shim could not be started. The message is one line."""


def find_shim(runtime: str) -> str:
    """The path of the shim of a runtime: `io.containerd.NAME.vN`, or an absolute path.

    Raises ShimError.
    """
    if runtime.startswith("/"):
        if os.access(runtime, os.X_OK):
            return runtime
        raise ShimError(f"runtime {runtime}: no such program")
    match = _NAME.fullmatch(runtime)
    if match is None:
        raise ShimError(f"runtime {runtime}: expected a name like io.containerd.wherry.v1")
    name = f"containerd-shim-{match[1]}-v{match[2]}"
    path = shutil.which(name)
    if path is None:
        raise ShimError(f"runtime {runtime}: {name} is not on the PATH")
    return path


async def start_shim(
    *, runtime: str, namespace: str, id: str, bundle: Path, events_address: str, address: str = ""
) -> str:
    """Start the shim of `runtime` for a bundle; the address of its task service.

    `events_address` is the path of the ttrpc socket for its events, `address` what tells one
    containerd from another (by default the same). Raises ShimError with what the shim said.
    """
    program = find_shim(runtime)
    arguments = ["-namespace", namespace, "-address", address or events_address]
    arguments += ["-publish-binary", "", "-id", id, "start"]
    environment = os.environ | {"TTRPC_ADDRESS": events_address}
    output, code = await _run(program, arguments, bundle, environment)
    if code:
        raise ShimError(f"{Path(program).name}: {_last_line(output) or f'ended with {code}'}")
    return _parse_address(output, program)


async def delete_shim(*, runtime: str, namespace: str, id: str, bundle: Path, address: str) -> None:
    """Have the shim's program clean up after a task whose shim is gone. Raises ShimError."""
    program = find_shim(runtime)
    arguments = ["-namespace", namespace, "-address", address, "-publish-binary", ""]
    arguments += ["-id", id, "-bundle", str(bundle), "delete"]
    output, code = await _run(program, arguments, bundle, dict(os.environ))
    if code:
        raise ShimError(f"{Path(program).name}: {_last_line(output) or f'ended with {code}'}")


async def _run(
    program: str, arguments: list[str], cwd: Path, environment: dict[str, str]
) -> tuple[bytes, int]:
    """Run to its end a program that prints little; its output, stderr included, and exit code."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            cwd=cwd,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise ShimError(f"{program}: {error.strerror}") from None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            output = b""
            while chunk := await process.stdout.read(_LIMIT):
                output = (output + chunk)[:_LIMIT]
            return output, await process.wait()
    except TimeoutError:
        raise ShimError(f"{Path(program).name}: no answer within {_PATIENCE:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _parse_address(output: bytes, program: str) -> str:
    """The address in what `start` printed: bare, or in the JSON of containerd 1.7 and later."""
    text = output.decode(errors="replace").strip()
    if text.startswith("{"):
        try:
            found = json.loads(text)
            address, protocol = str(found["address"]), found.get("protocol", "ttrpc")
        except (ValueError, KeyError, AttributeError):
            raise ShimError(f"{Path(program).name}: not an address: {text[:200]}") from None
        if protocol != "ttrpc":
            raise ShimError(f"{Path(program).name}: speaks {protocol}, not ttrpc")
    else:
        address = text
    if not address.startswith("unix://") or "\n" in address:
        raise ShimError(f"{Path(program).name}: not an address: {text[:200]}")
    return address


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""
