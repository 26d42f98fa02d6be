"""How often something is tried again, and how long is waited before."""

import random
from collections.abc import Callable
from typing import TypeVar

import msgspec

from wherry.registry.cancel import Cancel
from wherry.registry.errors import RegistryError

T = TypeVar("T")


class Patience(msgspec.Struct, frozen=True):
    """Waiting doubles from `first` to `longest` seconds, give or take a quarter of it."""

    tries: int = 5
    first: float = 0.25
    longest: float = 8.0
    asked: float = 60.0
    """A registry that asks for more seconds than this is told to people instead of waited for."""

    def seconds(self, failures: int, after: float | None = None) -> float:
        """What to wait after the `failures`-th failure in a row; `after` is a Retry-After."""
        own = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        own *= random.uniform(0.75, 1.25)  # noqa: S311 (spreads clients out, hides nothing)
        return own if after is None else max(after, min(own, self.first))

    def wait(
        self, error: RegistryError, failures: int, cancel: Cancel, tries: int | None = None
    ) -> None:
        """Let time pass after an `error` that may pass, the `failures`-th in a row.

        Raises the error when there have been enough, or the registry asks for too much time;
        Abandoned.
        """
        too_long = error.after is not None and error.after > self.asked
        if too_long or failures >= (tries or self.tries):
            raise error
        cancel.wait(self.seconds(failures, error.after))

    def persist(self, attempt: Callable[[], T], cancel: Cancel, tries: int | None = None) -> T:
        """What `attempt` returns at last. Raises its last RegistryError, and Abandoned."""
        failures = 0
        while True:
            try:
                return attempt()
            except RegistryError as error:
                if not error.again:
                    raise
                failure = error
            failures += 1
            self.wait(failure, failures, cancel, tries)
