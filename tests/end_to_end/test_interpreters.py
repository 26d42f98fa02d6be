"""CRuby and CPython as images of their own: real programs, with scripts and files of a person's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests

pytestmark = [pytest.mark.guests, pytest.mark.slow]

WRITE = {
    "ruby": (
        'require "json"\nFile.write(ARGV[0], {"by" => "ruby"}.to_json)\nputs File.read(ARGV[0])'
    ),
    "python": (
        "import json, sys\n"
        "with open(sys.argv[1], 'w') as f: json.dump({'by': 'python'}, f)\n"
        "print(open(sys.argv[1]).read())"
    ),
}
NOTICE = {"ruby": '{"by":"ruby"}', "python": '{"by": "python"}'}


@pytest.fixture(scope="module", params=["ruby", "python"])
def language(request: pytest.FixtureRequest, wherry: Wherry, guests: Guests) -> str:
    """An interpreter's name; its image, NAME-wasm, is built."""
    name = str(request.param)
    context = guests.ruby() if name == "ruby" else guests.python()
    dockerfile = EXAMPLES / name / "Dockerfile"
    wherry.ok("build", "-q", "-t", f"{name}-wasm", "-f", dockerfile, context, timeout=600)
    wherry("run", "--rm", f"{name}-wasm", "--version", timeout=600)  # compiles it
    return name


def test_a_script_from_a_bind_mount(wherry: Wherry, language: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(WRITE[language])
    mount = ("-v", f"{tmp_path}:/work")
    out = wherry.ok("run", "--rm", *mount, f"{language}-wasm", "/work/script", "/work/made")
    assert out == NOTICE[language]
    assert (tmp_path / "made").read_text() == NOTICE[language]


def test_a_relative_path_is_beneath_the_working_directory(
    wherry: Wherry, language: str, tmp_path: Path
) -> None:
    (tmp_path / "script").write_text(WRITE[language])
    mount = ("-v", f"{tmp_path}:/work")
    out = wherry.ok("run", "--rm", *mount, f"{language}-wasm", "script", "made")
    assert out == NOTICE[language]
    assert (tmp_path / "made").exists()


def test_files_of_a_volume(wherry: Wherry, language: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(WRITE[language])
    volume = f"of-{language}"
    words = ("-v", f"{tmp_path}:/work:ro", "-v", f"{volume}:/data")
    wherry.ok("run", "--rm", *words, f"{language}-wasm", "/work/script", "/data/made")
    mountpoint = wherry.ok("volume", "inspect", "-f", "{{.Mountpoint}}", volume)
    assert (Path(mountpoint) / "made").read_text() == NOTICE[language]
    wherry.ok("volume", "rm", volume)


def test_its_exit_code_and_its_error(wherry: Wherry, language: str) -> None:
    flag, leave, fail = {
        "ruby": ("-e", "exit 3", 'raise "mutiny"'),
        "python": ("-c", "import sys; sys.exit(3)", "raise SystemError('mutiny')"),
    }[language]
    assert wherry("run", "--rm", f"{language}-wasm", flag, leave).code == 3
    done = wherry("run", "--rm", f"{language}-wasm", flag, fail)
    assert done.code == 1
    assert "mutiny" in done.err


def test_a_program_from_stdin(wherry: Wherry, language: str) -> None:
    program = {"ruby": "puts 6 * 7", "python": "print(6 * 7)"}[language]
    assert wherry.ok("run", "--rm", "-i", f"{language}-wasm", "-", input=program) == "42"


def test_the_line_of_the_readme(wherry: Wherry, guests: Guests) -> None:
    dockerfile = EXAMPLES / "ruby" / "Dockerfile"
    wherry.ok("build", "-q", "-t", "ruby-wasm", "-f", dockerfile, guests.ruby())
    wherry.ok(
        "run", "-d", "--name", "ruby", "-v", f"{wherry.folder}:/work", "-e", "LANG=C.UTF-8",
        "ruby-wasm", "-e", "puts RUBY_VERSION", timeout=600,
    )  # fmt: skip
    assert wherry.ok("wait", "ruby") == "0"
    assert wherry.ok("logs", "-f", "ruby").startswith("3.4.")
    wherry.ok("rm", "ruby")


def test_numpy_within_python(wherry: Wherry, guests: Guests) -> None:
    dockerfile = EXAMPLES / "python" / "Dockerfile"
    wherry.ok("build", "-q", "-t", "python-wasm", "-f", dockerfile, guests.python(), timeout=600)
    code = "import numpy; print(int(numpy.arange(10).sum()))"
    assert wherry.ok("run", "--rm", "python-wasm", "-c", code, timeout=600) == "45"
