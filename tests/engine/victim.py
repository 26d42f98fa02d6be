"""An engine that makes, starts and removes containers until it is killed.

`python -m tests.engine.victim ROOT RUN SEED` tells on stdout what it begins and what is done.
"""

import asyncio
import itertools
import random
import sys
from pathlib import Path

from tests.engine.kitchen import make

from wherry.engine import Engine, EngineError
from wherry.engine.config import ContainerConfig, HostConfig

_AT_ONCE = 4


async def main(root: Path, run: Path, seed: int) -> None:
    dice = random.Random(seed)
    engine = await Engine.open(root, run)
    numbers = itertools.count()
    await asyncio.gather(*(_work(engine, dice, numbers, seed) for _ in range(_AT_ONCE)))


async def _work(
    engine: Engine, dice: random.Random, numbers: "itertools.count[int]", seed: int
) -> None:
    while True:
        name = f"c{seed}_{next(numbers)}"
        _say("creating", name)
        guest = dice.choice(["/loop.wasm", "/exit.wasm"])
        config = ContainerConfig(cmd=[guest], volumes={"/data": {}})
        container = await make(
            engine, name=name, config=config, host=HostConfig(binds=[f"v{name}:/named"])
        )
        _say("created", name)
        if dice.random() < 0.8:
            _say("starting", name)
            await engine.containers.start(container)
            if guest == "/loop.wasm":
                _say("running", name)
        if dice.random() < 0.7:
            _say("removing", name)
            try:
                await engine.containers.remove(container, force=True, volumes=True)
                _say("removed", name)
            except EngineError as error:
                _say("failed", f"{name} {error}")


def _say(what: str, name: str) -> None:
    print(what, name, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
