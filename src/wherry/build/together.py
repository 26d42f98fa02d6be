"""Parts of one piece of work that go on at once, each in a thread of its own."""

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context


class Stopped(Exception):
    """Another part has failed: this one is not to go on."""


class Circle(Exception):
    """The part would wait for one that waits for it."""


class Together:
    """Carries out parts, which are counted from 0 and may wait for each other.

    At most `at_once` of them go on at a time, those of low numbers first; one that waits is none
    of these. When one fails, `abandon` is called once, to end what the others are in the middle of.
    """

    def __init__(self, at_once: int, abandon: Callable[[], None]) -> None:
        self._at_once = at_once
        self._abandon = abandon
        self._change = threading.Condition()
        self._willing: set[int] = set()
        self._going: set[int] = set()
        self._over: set[int] = set()
        self._waits: dict[int, int] = {}
        self._failure: BaseException | None = None
        self.failed: int | None = None
        """The part that failed first."""

    def carry_out(self, parts: Sequence[Callable[[], None]]) -> None:
        """Carry out all parts to their ends. Blocking; raises what the first that failed did."""
        threads: list[threading.Thread] = []
        try:
            for number, work in enumerate(parts):
                arguments = (self._carry_out, number, work)
                thread = threading.Thread(
                    target=copy_context().run, args=arguments, name="stage", daemon=True
                )
                thread.start()
                threads.append(thread)
        except RuntimeError as error:  # as many threads as there may be
            self._fail(None, error)
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def wait(self, number: int, other: int) -> None:
        """Have part `number`, which asks, wait for the end of `other`. Raises Stopped, Circle."""
        with self._change:
            if other not in self._over:
                self._waits[number] = other
                try:
                    self._refuse_circle(number)
                    self._going.discard(number)
                    self._change.notify_all()
                    self._change.wait_for(lambda: other in self._over or self._has_failed)
                finally:
                    del self._waits[number]
        self._go_on(number)

    def check(self) -> None:
        """Raises Stopped if a part has failed."""
        if self._has_failed:
            raise Stopped

    @property
    def _has_failed(self) -> bool:
        return self._failure is not None

    def _carry_out(self, number: int, work: Callable[[], None]) -> None:
        try:
            self._go_on(number)
            work()
        except Stopped:
            pass
        except BaseException as error:
            self._fail(number, error)
        finally:
            with self._change:
                self._going.discard(number)
                self._over.add(number)
                self._change.notify_all()

    def _go_on(self, number: int) -> None:
        """Wait for a place among those that go on."""
        with self._change:
            if number not in self._going:
                self._willing.add(number)
                self._change.wait_for(lambda: self._has_failed or self._has_place(number))
                self._willing.discard(number)
                self._going.add(number)
                self._change.notify_all()
            self.check()

    def _has_place(self, number: int) -> bool:
        return len(self._going) < self._at_once and number == min(self._willing)

    def _refuse_circle(self, number: int) -> None:
        at = self._waits[number]
        while at in self._waits:
            at = self._waits[at]
            if at == number:
                raise Circle

    def _fail(self, number: int | None, error: BaseException) -> None:
        with self._change:
            if self._has_failed:
                return
            self._failure, self.failed = error, number
            self._change.notify_all()
        self._abandon()
