"""What every command rests on: the conversation with the engine."""

import signal
import threading
from pathlib import Path

from tests.client.fake_daemon import Answer, FakeDaemon, Request, json_answer

from wherry.cli.session import Session


def test_no_signal_goes_unnoticed_while_an_answer_is_awaited(tmp_path: Path) -> None:
    """One that another thread was given leaves the main thread's system call as it is.

    So does one that comes just before the call: then Ctrl-C did nothing, once in a while.
    """
    noticed = threading.Event()

    def handler(_: Request) -> Answer:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        return json_answer(noticed.wait(60))

    before = signal.signal(signal.SIGUSR1, lambda *_: noticed.set())
    try:
        with FakeDaemon(tmp_path, handler) as daemon:
            assert Session(daemon.host).client.get("/wait") is True
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)
