"""Times, names, signals, users, restart policies: the parts that need no container."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine import Conflict, InvalidRequest, NotFound
from wherry.engine.clock import nanoseconds, parse_moment, timestamp
from wherry.engine.config import ContainerConfig, HostConfig, RestartPolicy
from wherry.engine.containers.container import Container
from wherry.engine.containers.index import Index
from wherry.engine.containers.names import check_name, invent_name
from wherry.engine.containers.restart import delay_before_restart
from wherry.engine.containers.signals import parse_signal
from wherry.engine.containers.users import find_user
from wherry.engine.inspection import NEVER
from wherry.engine.record import Life, Record


def container(
    id: str = "a" * 64, name: str = "name", policy: str = "no", most: int = 0
) -> Container:
    restart = RestartPolicy(name=policy, maximum_retry_count=most)
    record = Record(
        id=id, name=name, created=0, config=ContainerConfig(), image_id="sha256:0", layers=[],
        host=HostConfig(restart_policy=restart), platform="wasi/wasm", args=["x"], mounts=[],
    )  # fmt: skip
    return Container(record, Life())


@given(st.integers(min_value=0, max_value=1 << 62))
def test_times_survive_as_text(moment: int) -> None:
    assert nanoseconds(timestamp(moment)) == moment


def test_times_are_written_as_docker_does() -> None:
    assert timestamp(1_700_000_000_120_000_000) == "2023-11-14T22:13:20.12Z"
    assert timestamp(1_700_000_000_000_000_000) == "2023-11-14T22:13:20Z"
    assert nanoseconds(NEVER) < 0


def test_moments_are_times_or_durations() -> None:
    assert parse_moment("1700000000.5") == 1700000000.5
    assert abs(parse_moment("1h30m") - (time.time() - 5400)) < 60
    assert parse_moment("2023-11-14T22:13:20Z") == 1700000000
    with pytest.raises(ValueError, match="neither a time nor a duration"):
        parse_moment("yesterday")


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("WINCH", 28)],
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "SIG", "SIG_IGN", "HUPP", "RTMIN+99", "-9", "9" * 5000]
)
def test_signals_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Invalid signal"):
        parse_signal(text)


def test_names() -> None:
    assert check_name("/web.1-a_b") == "web.1-a_b"
    for name in ("", "a", "-a", "a/b", "a b", "é1"):
        with pytest.raises(InvalidRequest):
            check_name(name)
    assert re.fullmatch("[a-z]+_[a-z]+", invent_name(lambda _: True))
    taken: set[str] = set()
    for _ in range(2000):
        name = invent_name(lambda name: name not in taken)
        assert name not in taken
        taken.add(check_name(name))


def test_containers_are_found_by_id_name_and_beginning() -> None:
    index = Index()
    first, second = container("ab" + "0" * 62, "one"), container("ac" + "0" * 62, "two")
    for each in (first, second):
        index.reserve(each.name)
        index.add(each)
    assert index.get("/one") is index.get(first.id) is index.get("ab") is first
    with pytest.raises(InvalidRequest, match="multiple IDs found"):
        index.get("a")
    for missing in ("b", "", "three"):
        with pytest.raises(NotFound, match="No such container"):
            index.get(missing)
    with pytest.raises(Conflict):
        index.reserve("one")
    index.remove(first)
    assert index.get("a") is second
    index.reserve("one")


def test_an_id_comes_before_a_name_and_a_name_before_a_beginning() -> None:
    index = Index()
    first, second = container("ab" + "0" * 62, "one"), container("ff" + "0" * 62, "ab")
    index.add(first)
    index.add(second)
    assert index.get("ab") is second
    assert index.get(first.id) is first


def test_waits_between_restarts_double_up_to_a_minute() -> None:
    always = container(policy="always")
    waits = [delay_before_restart(always, 0.0) for _ in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 60.0
    assert delay_before_restart(always, 11.0) == 0.1


def test_policies_decide() -> None:
    failing = container(policy="on-failure", most=1)
    failing.state.exit_code = 1
    assert delay_before_restart(failing, 0) is not None
    assert delay_before_restart(failing, 0) is None
    ended = container(policy="on-failure")
    assert delay_before_restart(ended, 0) is None
    assert delay_before_restart(container(), 0) is None
    stopped = container(policy="always")
    stopped.life.stopped_by_hand = True
    assert delay_before_restart(stopped, 0) is None


def test_users_are_looked_up_in_the_image(tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    (upper / "etc").mkdir(parents=True)
    (lower / "etc").mkdir(parents=True)
    (upper / "etc" / "passwd").write_text("web:x:33:34::/srv:/bin/sh\n")
    (lower / "etc" / "passwd").write_text("old:x:1:1::/:/bin/sh\n")
    (lower / "etc" / "group").write_text("data:x:50:web,other\nlogs:x:51:\n")
    layers = [str(upper), str(lower)]
    assert find_user("", (), layers) == (0, 0, [], "/")
    assert find_user("web", (), layers) == (33, 34, [50], "/srv")
    assert find_user("web:logs", ("data",), layers) == (33, 51, [50], "/srv")
    assert find_user("33", (), layers)[:2] == (33, 34)
    assert find_user("7:8", ("9",), layers) == (7, 8, [9], "/")
    for text in ("old", "web:none", "4294967296", "-1"):
        with pytest.raises(InvalidRequest, match="no matching entries"):
            find_user(text, (), layers)


def test_a_passwd_that_is_a_link_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("web:x:0:0::/:\n")
    layer = tmp_path / "layer" / "etc"
    layer.mkdir(parents=True)
    (layer / "passwd").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidRequest):
        find_user("web", (), [str(tmp_path / "layer")])
