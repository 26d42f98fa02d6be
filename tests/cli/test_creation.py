"""From the flags of `run` and `create` to the body of the request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from wherry.cli.creation import describe
from wherry.cli.errors import CommandError
from wherry.cli.index import load


def body(*flags: str) -> dict[str, Any]:
    arguments = load("run").parse([*flags, "image", "-x", "arg"])
    image, *command = arguments.words
    return describe(arguments, image, command)


def host(*flags: str) -> Any:
    return body(*flags)["HostConfig"]


def test_plain() -> None:
    document = body()
    assert (document["Image"], document["Cmd"]) == ("image", ["-x", "arg"])
    assert (document["AttachStdin"], document["AttachStdout"], document["AttachStderr"]) == (
        False, True, True,
    )  # fmt: skip
    assert not document["Tty"] and not document["OpenStdin"] and not document["StdinOnce"]
    assert "Entrypoint" not in document and "StopTimeout" not in document
    assert document["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}


def test_a_container_without_a_command_takes_the_images() -> None:
    arguments = load("create").parse(["image"])
    assert describe(arguments, "image", [])["Cmd"] is None


def test_interactive() -> None:
    document = body("-it")
    assert document["Tty"] and document["OpenStdin"] and document["StdinOnce"]
    assert document["AttachStdin"]
    assert len(document["HostConfig"]["ConsoleSize"]) == 2
    document = body("-i", "-a", "STDOUT")
    assert document["OpenStdin"] and not document["AttachStdin"] and not document["StdinOnce"]
    assert (document["AttachStdout"], document["AttachStderr"]) == (True, False)


def test_an_entrypoint_may_be_emptied() -> None:
    assert body("--entrypoint", "/a b")["Entrypoint"] == ["/a b"]
    assert body("--entrypoint", "")["Entrypoint"] == [""]


def test_environment_from_flags_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "here")
    monkeypatch.delenv("ABSENT", raising=False)
    file = tmp_path / "env"
    file.write_text("\ufeff# comment\n\n  A=from file \nTAKEN\nABSENT\nB=x=y # kept\r\n")
    flags = ("-e", "A=flag", "-e", "TAKEN", "-e", "ABSENT", "-e", "E=", "--env-file", str(file))
    assert body(*flags)["Env"] == [
        "A=from file ", "TAKEN=here", "B=x=y # kept", "A=flag", "TAKEN=here", "E=",
    ]  # fmt: skip


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a=file\nb\n")
    labels = body("--label-file", str(tmp_path / "labels"), "-l", "a=flag", "--label", "c")[
        "Labels"
    ]
    assert labels == {"a": "flag", "b": "", "c": ""}


def test_limits() -> None:
    limits = host(
        "-m", "64m", "--cpus", "1.5", "--pids-limit", "-1", "--ulimit", "nofile=10:20",
        "--ulimit", "core=0",
    )  # fmt: skip
    assert limits["Memory"] == 64 << 20
    assert limits["NanoCpus"] == 1_500_000_000
    assert limits["PidsLimit"] == -1
    assert limits["Ulimits"] == [
        {"Name": "nofile", "Soft": 10, "Hard": 20},
        {"Name": "core", "Soft": 0, "Hard": 0},
    ]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("no", ("no", 0)), ("always", ("always", 0)), ("unless-stopped", ("unless-stopped", 0)),
        ("on-failure", ("on-failure", 0)), ("on-failure:3", ("on-failure", 3)), ("", ("no", 0)),
    ],
)  # fmt: skip
def test_restart_policies(text: str, policy: tuple[str, int]) -> None:
    found = host("--restart", text)["RestartPolicy"]
    assert (found["Name"], found["MaximumRetryCount"]) == policy


def test_a_timeout_travels_as_an_annotation() -> None:
    annotations = host("--timeout", "2.5", "--annotation", "a=b")["Annotations"]
    assert annotations == {"io.wherry.timeout": "2.5", "a": "b"}


def test_volumes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    document = body("-v", "name:/data:ro", "-v", "/a:/b", "-v", "./x:/y", "-v", "/anonymous")
    assert document["HostConfig"]["Binds"] == ["name:/data:ro", "/a:/b", f"{tmp_path}/x:/y"]
    assert document["Volumes"] == {"/anonymous": {}}


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("type=bind,source=/a,target=/b,readonly",
         {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}),
        ("type=bind,src=rel,dst=/b,bind-propagation=rslave",
         {"Type": "bind", "Source": f"{os.getcwd()}/rel", "Target": "/b",
          "BindOptions": {"Propagation": "rslave"}}),
        ("source=vol,destination=/b,volume-nocopy,volume-label=a=b,volume-opt=o=x,ro=false",
         {"Type": "volume", "Source": "vol", "Target": "/b", "ReadOnly": False,
          "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"},
                            "DriverConfig": {"Options": {"o": "x"}}}}),
        ("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770",
         {"Type": "tmpfs", "Target": "/t",
          "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}}),
        ("type=image,src=web:1,dst=/i,image-subpath=a/b",
         {"Type": "image", "Source": "web:1", "Target": "/i", "ImageOptions": {"Subpath": "a/b"}}),
        ('type=bind,"source=/with,comma",target=/b',
         {"Type": "bind", "Source": "/with,comma", "Target": "/b"}),
    ],
)  # fmt: skip
def test_mounts(text: str, mount: dict[str, Any]) -> None:
    assert host("--mount", text)["Mounts"] == [mount]


@pytest.mark.parametrize(
    "flags",
    [
        ("-v", "relative"), ("-v", "a:b"), ("-v", ":/b"), ("-v", "/a:/b:ro:z"),
        ("--mount", "type=warp,target=/x"), ("--mount", "type=bind,target=/x"),
        ("--mount", "type=bind,source=/x"), ("--mount", "nonsense"), ("--mount", "what=ever"),
        ("--mount", "target=/x,readonly=perhaps"), ("--mount", '"type=bind'),
        ("--mount", "type=bind,source=/a,target=/x,tmpfs-size=1m"),
        ("--mount", "type=tmpfs,target=/x,tmpfs-mode=9"), ("--mount", "type=image,target=/x"),
        ("-m", "lots"), ("--cpus", "-1"), ("--cpus", "x"), ("--cpus", "0.0000000001"),
        ("--ulimit", "nofile"), ("--ulimit", "nofile=a"), ("--ulimit", "nofile=3:2"),
        ("--restart", "sometimes"), ("--restart", "always:3"), ("--restart", "on-failure:x"),
        ("--restart", "always", "--rm"), ("--timeout", "-1"), ("--timeout", "soon"),
        ("-e", "=x"), ("-e", ""), ("--env-file", "/no/such"), ("-a", "stdlog"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_end_with_125(flags: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        body(*flags)
    assert caught.value.exit_code == 125
    assert "\n" not in str(caught.value)
