"""`wherry build`: Dockerfiles as people write them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests

Context = Callable[..., Path]


@pytest.fixture
def context(tmp_path: Path, guests: Guests) -> Context:
    """Makes a build context of a Dockerfile and files; tool.wasm, the toolbox, is always there."""

    def make(dockerfile: str, **files: str) -> Path:
        folder = tmp_path / "context"
        folder.mkdir(exist_ok=True)
        shutil.copy(guests.toolbox(), folder / "tool.wasm")
        (folder / "Dockerfile").write_text(dockerfile)
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        return folder

    return make


TOOL = 'COPY tool.wasm /tool.wasm\nENTRYPOINT ["/tool.wasm"]\n'


def test_the_image_is_for_wasi(wherry: Wherry, hello: str) -> None:
    assert wherry.ok("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", hello) == "wasi/wasm"


def test_progress_is_shown_as_it_goes(wherry: Wherry, context: Context) -> None:
    done = wherry("build", "-t", "shown", context(f"FROM scratch\n{TOOL}"))
    assert done.code == 0, done.said
    assert "COPY tool.wasm /tool.wasm" in done.out + done.err


def test_quiet_prints_the_id_alone(wherry: Wherry, context: Context) -> None:
    identity = wherry.ok("build", "-q", "-t", "quiet", context(f"FROM scratch\n{TOOL}"))
    assert identity.startswith("sha256:")
    assert wherry.ok("images", "-q", "--no-trunc", "quiet") == identity


def test_twice_gives_the_same_bytes(wherry: Wherry, context: Context) -> None:
    folder = context(f"FROM scratch\nCOPY . /all/\nWORKDIR /made\n{TOOL}", a="1", sub__b="2")
    stamp = {"SOURCE_DATE_EPOCH": "1700000000"}
    first = wherry.ok("build", "-q", "-t", "twice", folder, env=stamp)
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    second = wherry.ok("build", "-q", "--no-cache", "-t", "twice", folder, env=stamp)
    assert first == second
    created = wherry.ok("image", "inspect", "-f", "{{.Created}}", "twice")
    assert created.startswith("2023-11-14T22:13:20")


def test_twice_gives_the_same_archive(wherry: Wherry, context: Context, tmp_path: Path) -> None:
    folder = context(f"FROM scratch\n{TOOL}")
    stamp = {"SOURCE_DATE_EPOCH": "0"}
    for name in ("one.tar", "two.tar"):
        wherry.ok("build", "-q", "--no-cache", "-t", "same", folder, env=stamp)
        wherry.ok("save", "-o", tmp_path / name, "same")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_the_second_build_takes_layers_from_the_cache(wherry: Wherry, context: Context) -> None:
    folder = context(f"FROM scratch\nCOPY a /a\n{TOOL}", a="1")
    wherry.ok("build", "-t", "cached", folder)
    again = wherry("build", "-t", "cached", folder)
    assert "CACHED" in (again.out + again.err).upper()
    (folder / "a").write_text("2")
    wherry.ok("build", "-t", "cached", folder)
    assert wherry.ok("run", "--rm", "cached", "cat", "/a") == "2"


def test_stages_arguments_and_metadata(wherry: Wherry, context: Context) -> None:
    folder = context(
        """\
# syntax=docker/dockerfile:1
ARG BASE=scratch
FROM scratch AS files
ARG WORD=default
COPY <<EOF /words/first
$WORD
EOF
COPY <<"EOF" /words/raw
$WORD
EOF
FROM ${BASE} AS final
LABEL org.example.port="Kiel" \\
      second=two
ENV A=1 B="two words"
ENV C=${A}${B:+-set}
WORKDIR /words
WORKDIR sub
COPY --from=files /words/ /words/
COPY tool.wasm /
EXPOSE 80/tcp 53/udp
VOLUME /data
USER 1000:1000
STOPSIGNAL SIGINT
ENTRYPOINT ["/tool.wasm"]
CMD ["cat", "/words/first"]
FROM scratch AS unused
COPY nothing-there /
"""
    )
    args = ("build", "-q", "-t", "stages", "-t", "stages:two", "--target", "final")
    wherry.ok(*args, "--build-arg", "WORD=given", "--label", "from=flag", folder)
    assert wherry.ok("run", "--rm", "stages") == "given"
    assert wherry.ok("run", "--rm", "stages:two", "cat", "/words/raw") == "$WORD"
    config = json.loads(wherry.ok("image", "inspect", "-f", "{{json .Config}}", "stages"))
    assert config["Labels"] == {"org.example.port": "Kiel", "second": "two", "from": "flag"}
    assert {"A=1", "B=two words", "C=1-set"} <= set(config["Env"])
    assert config["WorkingDir"] == "/words/sub"
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert config["Volumes"] == {"/data": {}}
    assert (config["User"], config["StopSignal"]) == ("1000:1000", "SIGINT")


def test_from_an_image_adds_to_it(wherry: Wherry, context: Context, toolbox: str) -> None:
    folder = context(f'FROM {toolbox}\nADD a /b/\nCMD ["cat", "/b/a"]\n', a="added")
    wherry.ok("build", "-q", "-t", "child", folder)
    assert wherry.ok("run", "--rm", "child") == "added"
    assert int(wherry.ok("history", "-q", "child").count("\n")) >= 1


def test_dockerignore_keeps_files_out(wherry: Wherry, context: Context) -> None:
    folder = context(f"FROM scratch\nCOPY . /all/\n{TOOL}", a="1", secret_key="k", sub__x_key="k")
    (folder / ".dockerignore").write_text("# comment\n**/*.key\n!sub/x.key\n")
    wherry.ok("build", "-q", "-t", "ignoring", folder)
    assert "secret.key" not in wherry.ok("run", "--rm", "ignoring", "list", "/all").split()
    assert wherry.ok("run", "--rm", "ignoring", "cat", "/all/sub/x.key") == "k"


def test_dockerfile_elsewhere_and_from_stdin(wherry: Wherry, context: Context) -> None:
    folder = context("nonsense", other_Dockerfile=f"FROM scratch\n{TOOL}")
    wherry.ok("build", "-q", "-f", folder / "other.Dockerfile", "-t", "other", folder)
    text = f"FROM scratch\n{TOOL}"
    wherry.ok("build", "-q", "-f", "-", "-t", "piped", folder, input=text)
    assert wherry.ok("run", "--rm", "piped", "pwd") == "/"


def test_run_executes_wasm_in_the_stages_own_files(wherry: Wherry, context: Context) -> None:
    folder = context(
        "FROM scratch AS work\nCOPY tool.wasm /tool.wasm\nCOPY a /a\n"
        'RUN ["/tool.wasm", "put", "/made", "by a step"]\n'
        'RUN ["/tool.wasm", "remove", "/a"]\n'
        'ENTRYPOINT ["/tool.wasm"]\n',
        a="1",
    )
    wherry.ok("build", "-q", "-t", "steps", folder)
    assert wherry.ok("run", "--rm", "steps", "cat", "/made") == "by a step"
    assert "a" not in wherry.ok("run", "--rm", "steps", "list", "/").split()


def test_a_failing_step_fails_the_build_with_its_line(wherry: Wherry, context: Context) -> None:
    folder = context('FROM scratch\nCOPY tool.wasm /\nRUN ["/tool.wasm", "cat", "/nosuch"]\n')
    done = wherry("build", "-t", "failing", folder)
    assert done.code == 1
    assert "/nosuch" in done.err + done.out
    assert "Dockerfile:3" in done.err, done.said
    assert "failing" not in wherry.ok("images", "--format", "{{.Repository}}").split()


@pytest.mark.parametrize(
    ("dockerfile", "line", "word"),
    [
        ("FROM scratch\nCOPPY a /a\n", 2, "COPPY"),
        ("FROM scratch\n\nCOPY nosuch /a\n", 3, "nosuch"),
        ("FROM scratch\nENV\n", 2, "ENV"),
        ("COPY a /a\n", 1, "FROM"),
        ("FROM 127.0.0.1:1/nosuch:1\n", 1, "nosuch"),
        ("FROM scratch\nRUN apt-get install -y ship\n", 2, "Linux"),
        ("FROM scratch\nCOPY --from=127.0.0.1:1/nowhere /a /a\n", 2, "nowhere"),
        ('FROM scratch\nENTRYPOINT ["/a"\nCOPY ../x /x\n', 3, "../x"),
        ("FROM scratch\nCOPY <<EOF /a\nnever ended\n", 2, "EOF"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_and_line(
    wherry: Wherry, context: Context, dockerfile: str, line: int, word: str
) -> None:
    done = wherry("build", "-q", "-t", "wrong", context(dockerfile))
    assert done.code == 1, done.said
    assert f"Dockerfile:{line}" in done.err, done.said
    assert word in done.err, done.said
    assert "Traceback" not in done.err
    assert "wrong" not in wherry.ok("images", "--format", "{{.Repository}}").split()


def test_a_base_image_for_another_platform_is_told(wherry: Wherry, context: Context) -> None:
    wherry.ok("build", "-q", "-t", "127.0.0.1:1/base", context("FROM scratch\nCOPY tool.wasm /\n"))
    folder = context("FROM 127.0.0.1:1/base\n")
    said = wherry.refused("build", "--platform", "linux/arm64", folder, code=1)
    assert "is for wasi/wasm, not for linux/arm64; it cannot be pulled: " in said
    wherry.ok("rmi", "127.0.0.1:1/base")


def test_an_empty_dockerfile_is_told(wherry: Wherry, context: Context) -> None:
    assert "Dockerfile" in wherry.refused("build", "-q", context(""), code=1)


def test_links_in_the_context_do_not_lead_out_of_it(wherry: Wherry, context: Context) -> None:
    folder = context(f"FROM scratch\nCOPY link /copied\n{TOOL}")
    (folder.parent / "secret").write_text("of the host")
    (folder / "link").symlink_to("../secret")
    wherry("build", "-q", "-t", "leak", folder)
    done = wherry("run", "--rm", "leak", "cat", "/copied")
    assert "of the host" not in done.out


@pytest.mark.parametrize("example", ["hello"])
def test_examples_build(wherry: Wherry, example: str) -> None:
    wherry.ok("build", "-q", "-t", f"example-{example}", EXAMPLES / example)
