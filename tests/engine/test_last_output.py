"""What a process wrote last is not lost where nobody had the time to look."""

import asyncio
import os
from pathlib import Path

import pytest

from wherry.engine.containers import exec_streams, plumbing
from wherry.engine.containers.exec_streams import ExecStreams
from wherry.engine.containers.plumbing import Plumbing
from wherry.engine.exec_config import ExecConfig
from wherry.shim.client.log import LogReader

_NO_TIME = 1e-6


async def test_of_an_exec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_streams, "_PATIENCE", _NO_TIME)
    streams = ExecStreams(tmp_path / "streams")
    streams.open("box", "exec", ExecConfig(attach_stdout=True), attached=True)
    left_behind = os.open(streams.stdout_path, os.O_WRONLY)
    streams.over()
    asyncio.get_running_loop().call_soon(os.write, left_behind, b"bye")
    assert [output.data async for output in streams] == [b"bye"]
    os.close(left_behind)


async def test_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plumbing, "_PATIENCE", _NO_TIME)
    log = tmp_path / "output"
    pipes = Plumbing(tmp_path, log, tty=True, begin=True)
    left_behind = os.open(pipes.stdout, os.O_WRONLY)
    asyncio.get_running_loop().call_soon(os.write, left_behind, b"bye")
    await pipes.finish()
    assert [record.data for record in LogReader(str(log)).records()] == [b"bye"]
    os.close(left_behind)
