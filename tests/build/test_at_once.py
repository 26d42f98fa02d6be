"""Stages that do not need each other are built at once, and told of one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.build.kitchen import CopyingRunner, Files, Kitchen

from wherry.build import BuildError, Event, Fetching, Step, StepOutput, StepStarted, Warned, at_once
from wherry.build.spool import Spool
from wherry.build.together import Circle, Together
from wherry.build.turns import Turns
from wherry.oci import HOST, parse_platform, parse_reference

LONG = 30.0
"""Seconds after which something does not happen any more."""

FILES: Files = {"tool.wat": "(module)"}
START = "FROM scratch AS base\nCOPY tool.wat /tool\n"
TWO = f"""{START}
FROM base AS one
RUN ["/tool", "one"]
FROM base AS two
RUN ["/tool", "two"]
FROM scratch
COPY --from=one /one /
COPY --from=two /two /
"""


class Cook(CopyingRunner):
    """Does for each step, by its first argument, what it was told; then writes a file so called."""

    def __init__(self, **does: Callable[[], object]) -> None:
        super().__init__()
        self.given_up = threading.Event()
        self.does = does
        self.codes: dict[str, int] = {}

    def run(self, step: Step) -> int:
        name = step.argv[1]
        self.steps.append(step)
        step.output(f"{name} begins\n".encode())
        if name in self.does:
            self.does[name]()
        step.output(f"{name} ends\n".encode())
        (step.upperdir / name).write_text(name)
        return self.codes.get(name, 0)

    def abandon(self) -> None:
        self.given_up.set()

    def until_given_up(self) -> None:
        assert self.given_up.wait(LONG)
        raise BuildError("the build was given up")


def test_what_two_stages_run_runs_at_once_and_is_told_in_order(kitchen: Kitchen) -> None:
    both, done = threading.Barrier(2), threading.Event()

    def one() -> None:
        both.wait(LONG)
        assert done.wait(LONG)  # by now the other step is long over

    def two() -> None:
        both.wait(LONG)
        done.set()

    kitchen.runner = Cook(one=one, two=two)
    image = kitchen.build(TWO, FILES)
    assert kitchen.files(image) == {"one": "one", "two": "two"}
    assert kitchen.output == b"one begins\none ends\ntwo begins\ntwo ends\n"
    numbers = [one.number for one in kitchen.events if isinstance(one, StepStarted)]
    assert numbers == [*range(1, 10)]


def test_a_stage_waits_for_another_only_where_it_needs_it(kitchen: Kitchen) -> None:
    later = threading.Event()

    def first() -> None:
        assert later.wait(LONG), "the other stage waits"

    kitchen.runner = Cook(first=first, later=later.set)
    image = kitchen.build(
        START + 'FROM base AS first\nRUN ["/tool", "first"]\n'
        'FROM base\nRUN ["/tool", "later"]\nCOPY --from=first /first /from/',
        FILES,
    )
    assert kitchen.files(image).keys() == {"tool", "later", "from/first"}


def test_platforms_are_built_at_once(kitchen: Kitchen) -> None:
    both = threading.Barrier(2)
    kitchen.runner = Cook(x=lambda: both.wait(LONG))
    platforms = (parse_platform("wasi/wasm"), HOST)
    image = kitchen.build(f'{START}RUN ["/tool", "x"]', FILES, platforms=platforms)
    found = kitchen.store.platforms(image.target.digest)
    assert [(each.platform, len(each.manifest.layers)) for each in found] == [
        (platform, 2) for platform in platforms
    ]


def test_the_result_is_that_of_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    together = Kitchen(tmp_path / "1", runner=Cook()).build(TWO, FILES, arguments=epoch)
    monkeypatch.setattr(at_once, "AT_ONCE", 1)
    alone = Kitchen(tmp_path / "2", runner=Cook()).build(TWO, FILES, arguments=epoch)
    assert together.target.digest == alone.target.digest


def test_what_two_stages_do_alike_is_done_once(kitchen: Kitchen) -> None:
    kitchen.runner = Cook()
    image = kitchen.build(
        START + 'FROM base AS one\nRUN ["/tool", "x"]\nFROM base AS two\nRUN ["/tool", "x"]\n'
        "FROM scratch\nCOPY --from=one / /1/\nCOPY --from=two / /2/",
        FILES,
    )
    assert len(kitchen.runner.steps) == 1
    assert kitchen.files(image).keys() == {"1/tool", "1/x", "2/tool", "2/x"}


def test_a_failure_ends_what_others_do_and_is_what_is_told(kitchen: Kitchen) -> None:
    running = threading.Event()

    def one() -> None:
        running.set()
        cook.until_given_up()

    kitchen.runner = cook = Cook(one=one, two=lambda: running.wait(LONG))
    cook.codes["two"] = 5
    tags = (parse_reference("hello"),)
    with pytest.raises(BuildError, match=r"^Dockerfile:7: .* 5$") as raised:
        kitchen.build(TWO, FILES, tags=tags)
    assert raised.value.code == 5
    assert kitchen.output == b"one begins\ntwo begins\ntwo ends\n"
    assert kitchen.store.list() == []
    assert not [*(kitchen.root / "build" / "run").iterdir()]
    assert not [thread for thread in threading.enumerate() if thread.name == "stage"]


def test_who_listens_no_more_ends_stages_whose_turn_has_not_come(kitchen: Kitchen) -> None:
    class GoneAway(Exception):
        pass

    def gone() -> None:
        raise GoneAway

    kitchen.runner = cook = Cook(one=gone)
    cook.does["two"] = cook.until_given_up
    with pytest.raises(GoneAway):
        kitchen.build(TWO, FILES)


def test_caches_that_are_locked_in_either_order_lock_nobody_out(kitchen: Kitchen) -> None:
    class Patient(Cook):
        def wait(self) -> None:
            assert not self.given_up.wait(0.01)

    mounts = [f"--mount=type=cache,id={id},target=/{id},sharing=locked" for id in "ab"]
    again = "--mount=type=cache,id=a,target=/again,sharing=locked"
    kitchen.runner = Patient()
    image = kitchen.build(
        f'{START}FROM base AS one\nRUN {" ".join([*mounts, again])} ["/tool", "one"]\n'
        f'FROM base AS two\nRUN {" ".join(mounts[::-1])} ["/tool", "two"]\n'
        "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /",
        FILES,
    )
    assert kitchen.files(image).keys() == {"one", "two"}


def test_a_trigger_waits_for_the_stage_it_names(kitchen: Kitchen) -> None:
    base = "FROM scratch\nCOPY tool.wat /tool\nONBUILD COPY --from=wanted /x /from/"
    kitchen.build(base, FILES, tags=(parse_reference("base"),))
    kitchen.runner = Cook()
    wanted = 'FROM scratch AS wanted\nCOPY tool.wat /tool\n{}RUN ["/tool", "x"]\n'
    rest = "FROM base AS triggered\nFROM scratch\nCOPY --from=triggered / /\nCOPY --from=wanted / /"
    image = kitchen.build(wanted.format("") + rest, FILES)
    assert "from/x" in kitchen.files(image)
    with pytest.raises(BuildError, match=r"^Dockerfile:\d: .*need each other"):
        kitchen.build(wanted.format("COPY --from=triggered / /\n") + rest, FILES)


def test_who_waits_leaves_its_place_to_another() -> None:
    together = Together(1, lambda: None)
    order: list[str] = []

    def waiting() -> None:
        order.append("0 begins")
        together.wait(0, 2)
        order.append("0 ends")

    together.carry_out([waiting, lambda: order.append("1"), lambda: order.append("2")])
    assert order[0] == "0 begins"
    assert order.index("2") < order.index("0 ends")


def test_who_waits_in_a_circle_is_told() -> None:
    told: list[str] = []
    together = Together(4, lambda: told.append("abandoned"))
    with pytest.raises(Circle):
        together.carry_out([lambda: together.wait(0, 1), lambda: together.wait(1, 0)])
    assert told == ["abandoned"]


def test_what_is_kept_until_its_turn_comes_whole_and_once(tmp_path: Path) -> None:
    told: list[Event] = []
    turns = Turns(told.append, lambda: Spool(tmp_path))
    much = bytes(range(256)) * 4096
    turns.tell(1, StepStarted(2, 2, "second"))
    for at in range(0, len(much), 1000):
        turns.tell(1, StepOutput(much[at : at + 1000]))
    for percent in range(100):
        turns.tell(1, Fetching(percent, "layer"))
    turns.tell(1, Warned("last"))
    turns.tell(0, StepStarted(1, 2, "first"))
    assert told == [StepStarted(1, 2, "first")]
    turns.end(0)
    turns.tell(1, Warned("directly"))
    assert told[1] == StepStarted(2, 2, "second")
    assert b"".join(one.data for one in told if isinstance(one, StepOutput)) == much
    assert told[-3:] == [Fetching(99, "layer"), Warned("last"), Warned("directly")]
