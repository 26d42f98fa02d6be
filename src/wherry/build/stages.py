"""Which stages a build needs, and in which order. Pure functions."""

from collections.abc import Iterable, Mapping

import msgspec

from wherry.build import syntax
from wherry.build.errors import BuildError
from wherry.build.expansion import ExpansionError, expand

_MAX_STAGES = 500


class PlannedStage(msgspec.Struct, frozen=True):
    """A stage to build; `number` counts from 0 in the Dockerfile.

    `base` is the number of the stage it begins with, None if that is an image. `image` and
    `platform` have their variables replaced. `origins` says which --from of its COPYs and mounts
    is a stage.
    """

    number: int
    syntax: syntax.Stage
    base: int | None
    image: str
    platform: str
    origins: dict[str, int]


def plan_stages(
    dockerfile: syntax.Dockerfile, target: str, variables: Mapping[str, str]
) -> list[PlannedStage]:
    """The stages that `target` needs and at last itself, each after all that it needs.

    `target` is a name, a number, or empty for the last stage; `variables` are the arguments known
    before the first FROM. Raises BuildError.
    """
    return _Planner(dockerfile, variables).plan(target)


class _Planner:
    def __init__(self, dockerfile: syntax.Dockerfile, variables: Mapping[str, str]) -> None:
        self._dockerfile = dockerfile
        self._stages = dockerfile.stages
        self._variables = variables
        self._under_way: list[int] = []
        self._ordered: dict[int, PlannedStage] = {}

    def plan(self, target: str) -> list[PlannedStage]:
        if len(self._stages) > _MAX_STAGES:
            line = self._stages[_MAX_STAGES].start.line
            raise self._error(f"more than {_MAX_STAGES} stages", line)
        self._need(self._target(target), 0)
        return list(self._ordered.values())

    def _target(self, name: str) -> int:
        number = self._find(name, len(self._stages)) if name else len(self._stages) - 1
        if number is None:
            names = [stage.start.name for stage in self._stages if stage.start.name]
            hint = f"the stages are {', '.join(names)}" if names else "no stage has a name"
            raise BuildError(f"there is no stage {name!r} to build: {hint}")
        return number

    def _need(self, number: int, line: int) -> None:
        """Plan the stage after what it needs; `line` is where it is asked for."""
        if number in self._ordered:
            return
        if number in self._under_way:
            circle = [*self._under_way[self._under_way.index(number) :], number]
            names = " → ".join(self._stages[one].start.name or str(one) for one in circle)
            raise self._error(f"the stages need each other in a circle: {names}", line)
        self._under_way.append(number)
        stage = self._stages[number]
        start = stage.start
        image = self._expand(start.image, start.line)
        if not image:
            hint = "give the ARG before the first FROM a default, or use --build-arg"
            raise self._error(f"FROM {start.image} names no image: {hint}", start.line)
        base = self._named(image, number)
        if base is not None:
            self._need(base, start.line)
        origins: dict[str, int] = {}
        for instruction in stage.body:
            for name in sources(instruction):
                origin = self._origin(instruction, name)
                if origin is not None:
                    self._need(origin, instruction.line)
                    origins[name] = origin
        self._under_way.pop()
        platform = self._expand(start.platform, start.line)
        self._ordered[number] = PlannedStage(number, stage, base, image, platform, origins)

    def _origin(self, instruction: syntax.Instruction, name: str) -> int | None:
        found = self._find(name, len(self._stages))
        if found is None and name.isascii() and name.isdigit():
            message = f"from={name}: there is no such stage"
            raise self._error(f"{message}; they are counted from 0", instruction.line)
        return found

    def _find(self, name: str, end: int) -> int | None:
        """The stage before number `end` that has this name or number."""
        named = self._named(name, end)
        if named is None and name.isascii() and name.isdigit() and len(name) < 10:
            return int(name) if int(name) < end else None
        return named

    def _named(self, name: str, end: int) -> int | None:
        for number in reversed(range(end)):
            if self._stages[number].start.name == name.lower() != "":
                return number
        return None

    def _expand(self, word: str, line: int) -> str:
        try:
            return expand(word, self._variables, self._dockerfile.escape)
        except ExpansionError as error:
            raise self._error(str(error), line) from None

    def _error(self, message: str, line: int) -> BuildError:
        return BuildError(message, self._dockerfile.file, line)


def sources(instruction: syntax.Instruction) -> Iterable[str]:
    """What an instruction calls the stages or images that it takes files from."""
    match instruction:
        case syntax.Copy(origin=origin) if origin:
            return (origin,)
        case syntax.Run(mounts=mounts):
            return (mount.origin for mount in mounts if mount.origin)
    return ()
