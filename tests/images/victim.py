"""A process that works on a store until it is killed. `victim.py ROOT ACTION ARCHIVE`."""

import itertools
import sys
from pathlib import Path

from wherry.images import ImageStore


def main() -> None:
    root, action, archive = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    store = ImageStore(root)
    print("ready", flush=True)
    for _ in itertools.count():
        if action in ("load", "all"):
            with open(archive, "rb") as file:
                store.load(file)
        if action in ("unpack", "all"):
            store.lowerdirs(store.resolve("victim"))
        if action in ("remove", "all"):
            store.remove("victim")
        if action == "remove":
            with open(archive, "rb") as file:
                store.load(file)
            store.lowerdirs(store.resolve("victim"))
        if action == "unpack":
            store.remove("victim")
            with open(archive, "rb") as file:
                store.load(file)


main()
