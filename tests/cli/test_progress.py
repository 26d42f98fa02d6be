"""How a build looks, in a pipe and at a terminal."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.progress import LiveView, PlainView

TOLD = (
    "Step 1/3 : FROM scratch\n ---> \nStep 2/3 : COPY a /a\n ---> Using cache\n ---> abc\n"
    'Step 3/3 : RUN ["/tool.wasm"]\nworking\nhard\n ---> def\n'
    "Successfully built 0123456789ab\nSuccessfully tagged hello:latest\n"
    "Successfully tagged hello:v1\n"
)
PLAIN = (
    "[1/3] FROM scratch\n[2/3] COPY a /a\n[2/3] cached\n"
    '[3/3] RUN ["/tool.wasm"]\nworking\nhard\n'
    "Successfully built 0123456789ab\nSuccessfully tagged hello:latest\n"
    "Successfully tagged hello:v1\n"
)


def on_screen(written: str) -> list[str]:
    """The lines a terminal shows in the end: `\\r` and "erase line" start a line anew."""
    lines = [line.split("\r\033[K")[-1] for line in written.split("\n")]
    return [re.sub(r"\033\[\d*m", "", line) for line in lines]


@given(st.lists(st.integers(0, len(TOLD)), max_size=10))
def test_plain_lines_however_they_arrive(cuts: list[int]) -> None:
    out: list[str] = []
    view = PlainView(out.append)
    marks = sorted({0, *cuts, len(TOLD)})
    for start, end in itertools.pairwise(marks):
        view.feed(TOLD[start:end])
    view.close()
    assert "".join(out) == PLAIN


def test_a_terminal_shows_one_line_a_step() -> None:
    out: list[str] = []
    view = LiveView(out.append, 60)
    view.feed(TOLD)
    view.close()
    shown = [re.sub(r"\d+\.\ds", "N.Ns", line) for line in on_screen("".join(out))]
    assert shown == [
        "[1/3] FROM scratch  N.Ns",
        "[2/3] COPY a /a  cached",
        '[3/3] RUN ["/tool.wasm"]',
        "  working",
        "  hard",
        "hello:latest, hello:v1 is 0123456789ab, built in N.Ns",
        "",
    ]


def test_a_step_that_is_told_of_later_says_how_long_it_took() -> None:
    out: list[str] = []
    view = LiveView(out.append, 60)
    view.feed("Step 1/1 : RUN long\n")
    view.feed(" ---> abc\n", 12.34)
    assert on_screen("".join(out))[0] == "[1/1] RUN long  12.3s"


def test_a_step_is_on_the_screen_while_it_runs() -> None:
    out: list[str] = []
    view = LiveView(out.append, 60)
    view.feed("Step 1/1 : RUN long\n")
    assert "".join(out) == "[1/1] RUN long"


def test_long_instructions_are_cut_to_the_width() -> None:
    out: list[str] = []
    view = LiveView(out.append, 40)
    view.feed(f"Step 1/1 : RUN {'x' * 200}\n ---> abc\n")
    assert all(len(line) < 40 for line in on_screen("".join(out)))


def test_a_build_that_fails_leaves_its_step_readable() -> None:
    out: list[str] = []
    view = LiveView(out.append, 60)
    view.feed("Step 1/1 : COPY none /\n")
    view.close()
    assert on_screen("".join(out))[0].startswith("[1/1] COPY none /")
    assert out[-1].endswith("\n")
