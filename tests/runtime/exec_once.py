"""A container and a further process of it, made by a launcher that has less rights than a test.

Run as a program with a bundle, whose first process waits for the end of its input; what follows is
run beside it, in turn, separated by "--". Says on stdout how each ended, and what it wrote.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from tests.runtime.bundles import reap

from wherry.oci import runtime as spec
from wherry.runtime import CreateRequest, ExecRequest, Launcher, LaunchError, Process
from wherry.runtime.sandbox import midwife


async def main(bundle: str, *arguments: str) -> None:
    """Run all commands."""
    if midwife.is_needed():
        midwife.take_orphans()
    with tempfile.TemporaryDirectory() as cache:
        launcher = await Launcher.spawn(Path(cache))
        reader, writer = os.pipe()
        request = CreateRequest(id="a", bundle=bundle, rootfs=(), stdin=reader, stdout=1, stderr=2)
        first = await launcher.create(request)
        await first.start(lambda number: None)
        for separates, words in groupby(arguments, "--".__eq__):
            if not separates:
                await run(launcher, first, bundle, list(words))
        os.close(writer)
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(first.pidfd, signal.SIGKILL)
        await reap(first)
        launcher.close()


async def run(launcher: Launcher, first: Process, bundle: str, args: list[str]) -> None:
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    process = spec.Process(args=args, cwd="/")
    request = ExecRequest(
        container=first, bundle=bundle, process=process, stdin=null, stdout=writer, stderr=2
    )
    try:
        made = await launcher.exec(request)
    except LaunchError as error:
        print(f"{error.exit_code} {error.message}")
        return
    finally:
        os.close(writer)
        os.close(null)
    await made.start(lambda number: None)
    status = await reap(made)
    with os.fdopen(reader) as file:
        print(status, file.read())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
