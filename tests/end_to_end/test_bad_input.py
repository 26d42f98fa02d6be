"""What people get wrong: one line that says what was wrong, the right code, nothing broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests


def image_of(wherry: Wherry, folder: Path, name: str, content: bytes) -> str:
    (folder / "module.wasm").write_bytes(content)
    return wherry.image(name, folder / "module.wasm")


def test_an_empty_file(wherry: Wherry, tmp_path: Path) -> None:
    image = image_of(wherry, tmp_path, "empty", b"")
    assert "module.wasm" in wherry.refused("run", "--rm", image, code=126)


@pytest.mark.parametrize("keep", [4, 7, 9, 100, 20_000])
def test_a_truncated_module(wherry: Wherry, guests: Guests, tmp_path: Path, keep: int) -> None:
    image = image_of(wherry, tmp_path, f"cut{keep}", guests.toolbox().read_bytes()[:keep])
    message = wherry.refused("run", "--rm", image, code=126)
    assert "module.wasm" in message


def test_a_module_that_imports_what_nobody_has(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(
        '(module (import "env" "warp_drive" (func)) (func (export "_start")))'
    )
    message = wherry.refused("run", "--rm", tmp_path / "m.wat", code=126)
    assert "warp_drive" in message


def test_a_component_that_imports_what_nobody_has(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(
        '(component (import "acme:ship/engine@1.0.0" (instance (export "start" (func)))))'
    )
    message = wherry.refused("run", "--rm", tmp_path / "m.wat", code=126)
    assert "acme:ship/engine" in message


def test_a_module_without_an_entry(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text('(module (func (export "add")))')
    assert "_start" in wherry.refused("run", "--rm", tmp_path / "m.wat", code=126)


def test_a_text_with_a_mistake(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text('(module (func (export "_start") (i32.what)))')
    done = wherry("run", "--rm", tmp_path / "m.wat")
    assert done.code == 126
    assert "i32.what" in done.err
    assert "Traceback" not in done.err


def test_a_linux_program(wherry: Wherry, tmp_path: Path) -> None:
    image = image_of(wherry, tmp_path, "elf", b"\x7fELF\x02\x01\x01" + b"\0" * 100)
    wherry.refused("run", "--rm", image, code=126)


def test_an_image_without_anything_to_run(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /a\n")
    wherry.ok("build", "-q", "-t", "nothing", tmp_path)
    wherry.refused("run", "--rm", "nothing", code=125)


def test_an_entrypoint_that_is_a_folder(wherry: Wherry, toolbox: str) -> None:
    done = wherry("run", "--rm", "--entrypoint", "/", toolbox)
    assert done.code == 126, done.said


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/../../etc/passwd", "/proc/self/exe"])
def test_an_entrypoint_outside_the_image(wherry: Wherry, toolbox: str, path: str) -> None:
    done = wherry("run", "--rm", "--entrypoint", path, toolbox)
    assert done.code in (126, 127), done.said
    assert "root:x:" not in done.out + done.err


def test_an_entrypoint_that_is_a_link_out_of_the_image(
    wherry: Wherry, toolbox: str, guests: Guests, tmp_path: Path
) -> None:
    outside = guests.toolbox()
    (tmp_path / "link.wasm").symlink_to(outside)
    (tmp_path / "Dockerfile").write_text(
        'FROM scratch\nCOPY link.wasm /link.wasm\nENTRYPOINT ["/link.wasm"]\n'
    )
    wherry("build", "-q", "-t", "linked", tmp_path)
    assert wherry("run", "--rm", "linked", "pwd").code != 0


def test_a_name_in_use(wherry: Wherry, hello: str) -> None:
    wherry.ok("create", "--name", "taken", hello)
    message = wherry.refused("run", "--name", "taken", hello, code=125)
    assert "taken" in message
    wherry.ok("rm", "taken")


@pytest.mark.parametrize("name", ["-dash", "with space", "ümlaut", "a/b"])
def test_a_name_that_is_none(wherry: Wherry, hello: str, name: str) -> None:
    wherry.refused("run", f"--name={name}", hello, code=125)


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "lots"), ("-m", "1k"), ("--cpus", "-1"), ("-v", "relative"), ("-v", "/a:relative"),
        ("-e", "=x"), ("--env-file", "/no/such"), ("--mount", "type=warp,target=/x"),
        ("--ulimit", "nofile"), ("--restart", "sometimes"), ("--platform", "a/b/c/d/e"),
        ("--runtime", "io.containerd.nosuch.v1"), ("--pids-limit", "many"), ("--timeout", "-1"),
    ],
)  # fmt: skip
def test_a_flag_with_a_wrong_value(wherry: Wherry, hello: str, words: tuple[str, str]) -> None:
    done = wherry("run", "--rm", *words, hello)
    assert done.code == 125, done.said
    assert done.err and "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) <= 4, done.said
    assert wherry.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    "words",
    [
        ("start", "nosuch"), ("stop", "nosuch"), ("kill", "nosuch"), ("rm", "nosuch"),
        ("logs", "nosuch"), ("wait", "nosuch"), ("inspect", "nosuch"), ("attach", "nosuch"),
        ("rename", "nosuch", "other"), ("top", "nosuch"), ("history", "nosuch"), ("rmi", "nosuch"),
        ("tag", "nosuch", "other"), ("save", "-o", "x.tar", "nosuch"), ("cp", "nosuch:/a", "."),
        ("volume", "rm", "nosuch"), ("volume", "inspect", "nosuch"),
        ("stats", "--no-stream", "nosuch"),
    ],
)  # fmt: skip
def test_a_thing_that_is_not_there_is_named(wherry: Wherry, words: tuple[str, ...]) -> None:
    done = wherry(*words)
    assert done.code == 1, done.said
    assert "nosuch" in done.err
    assert "Traceback" not in done.err


def test_a_running_container_is_not_removed_unforced(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("run", "-d", toolbox, "sleep", "600")
    wherry.refused("rm", identity, code=1)
    assert wherry.ok("rm", "-f", identity) == identity


def test_an_ambiguous_id_is_refused(wherry: Wherry, hello: str) -> None:
    made = [wherry.ok("create", hello) for _ in range(17)]  # two share their first digit
    first = next(d for d in "0123456789abcdef" if sum(one[0] == d for one in made) > 1)
    done = wherry("inspect", first)
    assert done.code == 1, done.said
    wherry.ok("rm", *made)


def test_an_unknown_command_is_told(wherry: Wherry) -> None:
    done = wherry("frobnicate")
    assert done.code != 0
    assert "frobnicate" in done.err


def test_a_daemon_that_cannot_start_is_told(fresh_wherry: Wherry) -> None:
    fresh_wherry.root.write_text("a file where a folder belongs")
    done = fresh_wherry("ps")
    assert done.code != 0
    assert "Traceback" not in done.err
    assert str(fresh_wherry.root) in done.err, done.said


def test_a_host_that_is_not_there_is_told(wherry: Wherry) -> None:
    done = wherry("-H", "unix:///no/such.sock", "ps")
    assert done.code == 1
    assert "/no/such.sock" in done.err
