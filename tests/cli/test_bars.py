"""How a pull looks at a terminal, whatever its size and however many layers there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.screen import Screen

from wherry.cli.bars import Bar, Bars
from wherry.cli.transfer import plain, show


class Show:
    """Bars on a screen, with a clock that a test moves."""

    def __init__(self, rows: int = 24, columns: int = 100) -> None:
        self.screen = Screen(rows, columns)
        self.now = 1000.0
        self.frames = 0
        self.bars = Bars(self._write, lambda: (self.screen.rows, self.screen.columns), self._clock)

    def _clock(self) -> float:
        return self.now

    def _write(self, data: bytes) -> None:
        self.frames += 1
        self.screen.write(data)

    def tell(self, *events: dict[str, Any]) -> None:
        for event in events:
            show(self.bars, event)

    def tick(self, seconds: float = 1.0) -> list[str]:
        self.now += seconds
        self.bars.tick()
        return self.screen.text


def layer(identity: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if total else {}
    return {"id": identity, "status": status, "progressDetail": detail}


def test_each_layer_has_a_line_that_is_redrawn_in_place() -> None:
    at = Show()
    at.tell({"id": "latest", "status": "Pulling from library/web"})
    at.tell(layer("aaaa", "Pulling fs layer"), layer("bbbb", "Pulling fs layer"))
    assert at.tick() == [
        "latest: Pulling from library/web", "aaaa: Pulling fs layer", "bbbb: Pulling fs layer",
    ]  # fmt: skip
    at.tell(layer("aaaa", "Downloading", 0, 40_000_000))
    at.tick()
    at.tell(layer("aaaa", "Downloading", 10_000_000, 40_000_000), layer("bbbb", "Already exists"))
    _, first, second = at.tick()
    assert first.startswith("aaaa: Downloading")
    assert re.search(r"\[=+> +\] +10MB/40MB +5MB/s +7s$", first)
    assert second == "bbbb: Already exists"
    at.tell(layer("aaaa", "Pull complete"), {"status": "Digest: sha256:abc"})
    assert at.screen.text[1:] == ["aaaa: Pull complete", "bbbb: Already exists",
                                  "Digest: sha256:abc"]  # fmt: skip


def test_time_goes_on_while_nothing_comes() -> None:
    at = Show()
    at.tell(layer("aaaa", "Downloading", 0, 40_000_000))
    at.tick(1)
    at.tell(layer("aaaa", "Downloading", 20_000_000, 40_000_000))
    assert at.tick(1)[0].endswith(" 3s")
    assert at.tick(20)[0].endswith(" 23s")


def test_nothing_is_drawn_when_nothing_moves() -> None:
    at = Show()
    at.tell(layer("aaaa", "Already exists"))
    at.tick()
    drawn = at.frames
    at.tick()
    at.tick()
    assert at.frames == drawn


def test_more_layers_than_lines_do_not_scroll() -> None:
    at = Show(rows=10)
    names = [f"layer{n:03}" for n in range(500)]
    at.tell(*(layer(name, "Pulling fs layer") for name in names))
    at.tick()
    assert len(at.screen.text) == 9 and at.screen.scrolled == 0
    for name in names[:300]:
        at.tell(layer(name, "Pull complete"))
        at.tick()
    at.tell(layer(names[300], "Downloading", 5, 10), layer(names[499], "Extracting", 5, 10))
    shown = at.tick()
    assert at.screen.scrolled == 0
    assert shown[0].startswith("layer300: Downloading")
    assert shown[-2].startswith("layer499: Extracting")
    assert shown[-1] == "… 492 more layers: 300 done, 192 waiting"
    at.tell(*(layer(name, "Pull complete") for name in names), {"status": "Status: done"})
    assert at.screen.text[-2:] == ["… 492 more layers: 492 done", "Status: done"]
    assert len(at.screen.text) == 10


def test_a_window_made_narrower_is_drawn_anew_without_leftovers() -> None:
    at = Show(rows=24, columns=120)
    at.tell({"id": "latest", "status": "Pulling from web"})
    at.tell(*(layer(f"layer{n}", "Downloading", n + 1, 10) for n in range(3)))
    at.tick()
    at.screen.narrow(50)
    shown = at.tick()
    assert [line[:6] for line in shown] == ["latest", "layer0", "layer1", "layer2"]
    assert max(map(len, shown)) < 50
    at.screen.columns = 120
    assert [line[:6] for line in at.tick()] == ["latest", "layer0", "layer1", "layer2"]


@given(st.integers(1, 200), st.integers(0, 1 << 60), st.integers(0, 1 << 60), st.text(max_size=30))
def test_a_line_never_fills_the_width(width: int, current: int, total: int, status: str) -> None:
    bar = Bar("0123456789ab")
    bar.update(status, 0, total, 1.0)
    bar.update(status, current, total, 3.0)
    line = bar.line(width, 4.0)
    assert len(line) <= max(width - 1, 1)
    assert line.isprintable()


@pytest.mark.parametrize("width", [20, 30, 44, 60, 80, 110, 200])
def test_what_there_is_no_room_for_is_left_out(width: int) -> None:
    bar = Bar("0123456789ab")
    bar.update("Downloading", 0, 100_000_000, 1.0)
    bar.update("Downloading", 50_000_000, 100_000_000, 3.0)
    line = bar.line(width, 3.0)
    told = ("Downl" in line, "50MB/100MB" in line, "25MB/s" in line, "[=" in line)
    assert told == (width >= 30, width >= 44, width >= 60, width >= 80)


events: st.SearchStrategy[dict[str, Any]] = st.builds(
    layer, st.sampled_from([f"layer{n}" for n in range(30)]),
    st.sampled_from(["Waiting", "Downloading", "Pull complete"]), st.integers(0, 9),
    st.integers(0, 9),
) | st.builds(lambda n: {"status": f"line {n}"}, st.integers(0, 9))  # fmt: skip


@given(st.lists(st.tuples(events, st.booleans()), max_size=60), st.integers(2, 12))
def test_lines_that_stay_are_all_there_in_the_end(
    told: list[tuple[dict[str, Any], bool]], rows: int
) -> None:
    at = Show(rows=rows, columns=60)
    for event, tick in told:
        at.tell(event)
        if tick:
            at.tick()
    at.bars.close()
    stayed = [line for line in at.screen.text if line.startswith("line ")]
    assert stayed == [str(event["status"]) for event, _ in told if "id" not in event]


def test_a_pipe_gets_lines_without_progress() -> None:
    told: list[Any] = [
        {"id": "latest", "status": "Pulling from web"}, layer("a", "Pulling fs layer"),
        layer("a", "Downloading", 1, 2), layer("a", "Pull complete"), {"status": "\x1b[2JDone"},
        {"aux": {"ID": "x"}}, {"stream": "text"}, [], None,
    ]  # fmt: skip
    assert [line for line in map(plain, told) if line is not None] == [
        "latest: Pulling from web", "a: Pulling fs layer", "a: Pull complete", "?[2JDone",
    ]  # fmt: skip


def test_what_is_no_progress_at_all_breaks_nothing() -> None:
    at = Show()
    at.tell({"id": "a", "status": "Downloading", "progressDetail": {"current": "x", "total": []}})
    at.tell({"id": "a", "status": "Downloading", "progressDetail": 7})
    at.tell({"id": "b", "status": "Downloading", "progressDetail": {"current": -5, "total": -9}})
    assert at.tick() == ["a: Downloading", "b: Downloading"]
