"""Which stages are built, in which order."""

import pytest
from tests.build.kitchen import Kitchen

from wherry.build import BuildError, StepStarted
from wherry.build.parser import parse
from wherry.build.stages import plan_stages
from wherry.oci import parse_reference

DIAMOND = """
FROM scratch AS base
FROM base AS left
FROM base AS right
COPY --from=left / /
FROM scratch AS unused
FROM right
COPY --from=left / /
COPY --from=alpine / /
"""


def numbers(text: str, target: str = "") -> list[int]:
    return [stage.number for stage in plan_stages(parse(text.encode(), "D"), target, {})]


def test_only_what_the_target_needs_each_once_and_in_order() -> None:
    assert numbers(DIAMOND) == [0, 1, 2, 4]
    assert numbers(DIAMOND, "left") == [0, 1]
    assert numbers(DIAMOND, "UNUSED") == [3]
    assert numbers(DIAMOND, "2") == [0, 1, 2]


def test_from_sees_only_earlier_stages_and_the_latest_of_a_name() -> None:
    assert numbers("FROM a AS b\nFROM b AS a\n") == [0, 1]
    planned = plan_stages(parse(b"FROM x AS a\nFROM y AS a\nFROM a", "D"), "", {})
    assert planned[-1].base == 1


def test_names_may_come_from_arguments() -> None:
    dockerfile = parse(b"ARG V=x\nFROM scratch AS one\nFROM ${V}", "D")
    assert [stage.number for stage in plan_stages(dockerfile, "", {"V": "one"})] == [0, 1]


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("FROM scratch AS a\nCOPY --from=a / /", "", r"D:2: .*circle: a → a"),
        (
            "FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /",
            "",
            r"D:2: .*circle: b → a → b",
        ),
        ("FROM scratch\nCOPY --from=3 / /", "", "D:2: .*no such stage"),
        ("FROM scratch AS one", "two", "no stage 'two' to build: the stages are one"),
        ("FROM scratch", "two", "no stage has a name"),
        ("FROM scratch", "1", "no stage '1'"),
        ("FROM $NOTHING", "", "D:1: .*names no image"),
        ("FROM ${X", "", "D:1: "),
        ("FROM scratch\n" * 600, "", "more than 500 stages"),
    ],
)
def test_impossible_plans(text: str, target: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        numbers(text, target)


def test_a_long_chain_of_stages() -> None:
    text = "FROM scratch AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(499))
    assert numbers(text) == list(range(500))


def test_steps_are_numbered_over_the_stages_that_are_built(kitchen: Kitchen) -> None:
    kitchen.build("ARG A=1\n" + DIAMOND.replace("FROM right", "FROM right AS r"), target="right")
    started = [event for event in kitchen.events if isinstance(event, StepStarted)]
    assert [(one.number, one.total) for one in started] == [(n, 5) for n in range(1, 6)]
    assert [one.text for one in started] == [
        "ARG A=1",
        "FROM scratch AS base",
        "FROM base AS left",
        "FROM base AS right",
        "COPY --from=left / /",
    ]


def test_a_missing_base_says_what_to_do(kitchen: Kitchen) -> None:
    with pytest.raises(BuildError, match=r"^Dockerfile:1: FROM nope: .*wherry load"):
        kitchen.build("FROM nope")
    with pytest.raises(BuildError, match="only later, in line 2"):
        kitchen.build("FROM later\nFROM scratch AS later\nFROM later", target="0")
    with pytest.raises(BuildError, match=r"^Dockerfile:1: FROM: platform 'x'"):
        kitchen.build("FROM --platform=x scratch")


def test_a_base_of_another_platform_is_refused(kitchen: Kitchen) -> None:
    kitchen.build("FROM scratch\nENV A=1", tags=(parse_reference("base:1"),))
    with pytest.raises(BuildError, match=r"^Dockerfile:1: "):
        kitchen.build("FROM --platform=linux/arm64 base:1")
