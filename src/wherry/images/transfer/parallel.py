"""Doing something for several blobs at once."""

from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from wherry.registry import Cancel

T = TypeVar("T")


def for_each(
    items: Iterable[T], work: Callable[[T], None], at_once: int, name: str, cancel: "Cancel"
) -> None:
    """Do `work` for each item, in threads called `name` that are in the caller's holds.

    The first error cancels what else is under way, and is raised once all of it has ended. What
    is the only one is done by the caller itself.
    """
    items = tuple(items)
    if len(items) < 2:
        for item in items:
            work(item)
        return
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(at_once, name) as pool:
        futures = [pool.submit(copy_context().run, work, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = next((each for each in futures if each in done and each.exception()), None)
        if failed is not None:
            cancel.cancel()
            pool.shutdown(wait=True, cancel_futures=True)
            failed.result()
