"""Where wherryd keeps things."""

import os
from pathlib import Path

import pytest

from wherry.api.places import PlaceRefused, Places, find_places


def test_the_command_line_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_ROOT", "/from/environment")
    monkeypatch.setenv("WHERRY_RUN", "/run/environment")
    assert find_places() == Places(Path("/from/environment"), Path("/run/environment"))
    assert find_places("/given", "/run/given") == Places(Path("/given"), Path("/run/given"))


def test_root_and_others_have_places_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WHERRY_ROOT", "WHERRY_RUN", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/jo")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert find_places() == Places(Path("/var/lib/wherry"), Path("/run/wherry"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_places() == Places(Path("/home/jo/.local/share/wherry"), Path("/tmp/wherry-1000"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert find_places().run == Path("/run/user/1000/wherry")


def test_places_are_made_for_their_owner_only(tmp_path: Path) -> None:
    places = Places(tmp_path / "a/root", tmp_path / "run")
    places.prepare()
    assert places.run.stat().st_mode & 0o777 == 0o700
    places.run.chmod(0o777)
    places.prepare()
    assert places.run.stat().st_mode & 0o777 == 0o700


def test_a_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "root")
    with pytest.raises(PlaceRefused, match="not a directory"):
        Places(tmp_path / "root", tmp_path / "run").prepare()


def test_a_place_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(tmp_path / "root", tmp_path / "run")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PlaceRefused, match="belongs to somebody else"):
        places.prepare()
