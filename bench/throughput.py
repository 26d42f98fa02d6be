"""How many tasks a second containerd gets through, by its API: no client's start is in it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.containerds_api import Client, Image
from bench.figures import Sample
from bench.timing import Attempt, in_turns

ROUNDS = 5


def rounds(client: Client, images: list[Image], at_once: int) -> list[Sample]:
    """Milliseconds for a task of each image, `at_once` of them running at a time."""
    ids = (f"task-{number}" for number in itertools.count())
    return in_turns(ROUNDS, *(_round(client, image, at_once, ids) for image in images))


def _round(client: Client, image: Image, at_once: int, ids: Iterator[str]) -> Attempt:
    count = max(16, 2 * at_once)

    def attempt() -> float:
        names = list(itertools.islice(ids, count))
        with ThreadPoolExecutor(at_once) as threads:
            began = time.perf_counter()
            for _ in threads.map(lambda name: client.run(image, name), names):
                pass
            return (time.perf_counter() - began) * 1000 / count

    return attempt
