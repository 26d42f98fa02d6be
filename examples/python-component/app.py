"""A WASI 0.2 command component: greets, or copies what it reads when told to."""

import os
import sys

from wit_world import exports
from wit_world.imports import environment


class Run(exports.Run):
    def run(self) -> None:
        words = environment.get_arguments()[1:]
        if words == ["cat"]:
            sys.stdout.write(sys.stdin.read())
        elif words == ["fail"]:
            sys.exit(1)
        elif words[:1] == ["write"]:
            with open(words[1], "w") as file:
                file.write(" ".join(words[2:]))
        else:
            greeting = dict(environment.get_environment()).get("GREETING", "hello")
            print(f"{greeting} from a component, {words}, {sorted(os.listdir('/'))}")
