"""Instructions that change the config of an image."""

import pytest
from tests.build.kitchen import Files, Kitchen

from wherry.build import BuildError, TriggersFound, Warned
from wherry.images import Image
from wherry.oci import HOST, WASM, RuntimeConfig, parse_platform


def config(image: Image) -> RuntimeConfig:
    assert image.config.config is not None
    return image.config.config


def test_everything_at_once(kitchen: Kitchen) -> None:
    image = kitchen.build(
        """
        FROM scratch
        MAINTAINER Jane <jane@example.com>
        LABEL a=1 "b c"='d e'
        ENV X=1 Y="two words"
        EXPOSE 80 8000-8002/udp
        VOLUME /data /more
        VOLUME ["/more"]
        USER 1000:1000
        WORKDIR /work
        STOPSIGNAL SIGINT
        ENTRYPOINT ["/hello.wasm"]
        CMD ["--help"]
        HEALTHCHECK --interval=10s --start-interval=20ms CMD ["/check.wasm"]
        SHELL ["/sh.wasm", "-c"]
        """
    )
    found = config(image)
    assert image.config.author == "Jane <jane@example.com>"
    assert found.labels == {"a": "1", "b c": "d e"}
    assert found.env == ["X=1", "Y=two words"]
    assert found.exposed_ports == {"80/tcp": {}, "8000/udp": {}, "8001/udp": {}, "8002/udp": {}}
    assert found.volumes == {"/data": {}, "/more": {}}
    assert (found.user, found.working_dir, found.stop_signal) == ("1000:1000", "/work", "SIGINT")
    assert (found.entrypoint, found.cmd) == (["/hello.wasm"], ["--help"])
    assert found.healthcheck is not None
    assert found.healthcheck.interval == 10 * 10**9
    assert found.healthcheck.start_interval == 20 * 10**6
    assert found.shell == ["/sh.wasm", "-c"]


def test_default_platform_is_wasm(kitchen: Kitchen) -> None:
    assert kitchen.build("FROM scratch").platform == WASM


def test_platform_option_and_flag(kitchen: Kitchen) -> None:
    arm = parse_platform("linux/arm64")
    assert kitchen.build("FROM scratch", platforms=(arm,)).platform == arm
    flagged = kitchen.build("FROM --platform=$BUILDPLATFORM scratch")
    assert flagged.platform == HOST


def test_platform_arguments(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "FROM scratch\nARG TARGETPLATFORM\nARG TARGETARCH\nARG BUILDOS\n"
        "ENV A=$TARGETPLATFORM B=$TARGETARCH C=$BUILDOS D=$TARGETOS"
    )
    assert config(image).env == ["A=wasi/wasm", "B=wasm", "C=linux", "D="]


def test_a_base_image_hands_on_its_config(kitchen: Kitchen) -> None:
    base = kitchen.build(
        'FROM scratch\nCOPY f /\nENV A=1 B=2\nLABEL x=y\nENTRYPOINT ["/f"]\nCMD ["c"]',
        {"f": "F"},
    )
    child = kitchen.build(f"FROM {base.id}\nENV B=3 C=4\nLABEL z=w")
    assert config(child).env == ["A=1", "B=3", "C=4"]
    assert config(child).labels == {"x": "y", "z": "w"}
    assert (config(child).entrypoint, config(child).cmd) == (["/f"], ["c"])
    assert child.manifest.layers == base.manifest.layers
    assert len(child.config.history or ()) == 5 + 2


def test_a_new_entrypoint_drops_an_inherited_command_only(kitchen: Kitchen) -> None:
    base = kitchen.build('FROM scratch\nENTRYPOINT ["/a"]\nCMD ["b"]')
    assert config(kitchen.build(f'FROM {base.id}\nENTRYPOINT ["/c"]')).cmd is None
    own = kitchen.build(f'FROM {base.id}\nCMD ["d"]\nENTRYPOINT ["/c"]')
    assert config(own).cmd == ["d"]


def test_env_sees_the_values_before_it(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc")
    assert config(image).env == ["abc=bye", "def=hello", "ghi=bye"]


def test_env_hides_arg(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "FROM scratch\nARG V=arg\nENV A=$V\nENV V=env\nENV B=$V\nARG V=again\nENV C=$V",
        arguments={"V": "given"},
    )
    assert config(image).env == ["A=given", "V=env", "B=env", "C=env"]


def test_arguments_before_from(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "ARG BASE=scratch\nARG V=1 W=${V}2\nFROM $BASE\nENV A=$V\nARG V\nARG W=own\nENV B=$V C=$W"
    )
    assert config(image).env == ["A=", "B=1", "C=own"]


def test_arguments_end_with_their_stage_but_children_inherit(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "FROM scratch AS one\nARG V=1\nFROM scratch AS two\nENV A=$V\n"
        "FROM one\nCOPY --from=two / /\nENV B=$V",
    )
    assert config(image).env == ["B=1"]
    two = kitchen.build("FROM scratch AS one\nARG V=1\nFROM scratch\nENV A=$V")
    assert config(two).env == ["A="]


def test_unused_build_arguments_are_told(kitchen: Kitchen) -> None:
    kitchen.build(
        "FROM scratch\nARG used",
        arguments={"used": "1", "forgotten": "2", "HTTP_PROXY": "x", "SOURCE_DATE_EPOCH": "1"},
    )
    assert [event for event in kitchen.events if isinstance(event, Warned)] == [
        Warned("no ARG in the Dockerfile asks for the --build-arg forgotten")
    ]


def test_label_options_come_last_and_are_not_expanded(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nLABEL a=1 b=2", labels={"b": "it's $HOME", "c": "3"})
    assert config(image).labels == {"a": "1", "b": "it's $HOME", "c": "3"}
    assert config(kitchen.build("FROM scratch\nLABEL a=1")).labels == {"a": "1"}


def test_onbuild_is_stored_and_triggered_once(kitchen: Kitchen) -> None:
    base = kitchen.build(
        "FROM scratch\nONBUILD COPY f /in/\nONBUILD ENV A=${A:-1}\nONBUILD COPY <<E /h\nhi\nE"
    )
    assert len(config(base).on_build or ()) == 3
    child = kitchen.build(f"FROM {base.id}\nENV B=$A", {"f": "F"})
    assert TriggersFound(3) in kitchen.events
    assert kitchen.files(child) == {"in/f": "F", "h": "hi\n"}
    assert config(child).env == ["A=1", "B=1"]
    assert not config(child).on_build
    with pytest.raises(BuildError, match=r"Dockerfile:1: .*not in the build context"):
        kitchen.build(f"FROM {base.id}")


def test_a_trigger_takes_files_of_stages_that_are_built(kitchen: Kitchen) -> None:
    base = kitchen.build("FROM scratch\nONBUILD COPY --from=one f /in/").id
    text = f"FROM scratch AS one\nCOPY f /\nFROM {base}\n"
    files: Files = {"f": "F"}
    assert "in/f" in kitchen.files(kitchen.build(f"{text}COPY --from=one f /x", files))
    with pytest.raises(BuildError, match="Dockerfile:3: from=one: only a trigger of"):
        kitchen.build(text, files)


@pytest.mark.parametrize(
    ("frontend", "warns"),
    [
        ("docker/dockerfile:1", False),
        ("docker.io/docker/dockerfile-upstream:master", False),
        ("docker/dockerfile@sha256:00", False),
        ("example/frontend", True),
    ],
)
def test_languages_that_are_not_spoken_are_warned_of(
    kitchen: Kitchen, frontend: str, warns: bool
) -> None:
    kitchen.build(f"# syntax={frontend}\nFROM scratch\nLABEL a=b")
    assert bool(kitchen.told(Warned)) is warns


def test_shell_form_is_warned_of_where_there_is_no_shell(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nENTRYPOINT /hello.wasm")
    assert config(image).entrypoint == ["/bin/sh", "-c", "/hello.wasm"]
    assert any(
        isinstance(event, Warned) and 'ENTRYPOINT ["/program.wasm"]' in event.message
        for event in kitchen.events
    )
    kitchen.build("FROM scratch\nCMD /x", platforms=(parse_platform("linux/amd64"),))
    assert not any(isinstance(event, Warned) for event in kitchen.events)


def test_workdir_is_made(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nENV D=/a\nWORKDIR $D/b/../c/\nWORKDIR /a")
    assert config(image).working_dir == "/a"
    assert set(kitchen.layer(image)) == {"a", "a/c"}
    assert len(image.manifest.layers) == 1
    empty = [bool(entry.empty_layer) for entry in image.config.history or ()]
    assert empty == [True, False, True]


def test_history_tells_every_step(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nENV A=1\nCOPY   f  /\n", {"f": "F"})
    history = image.config.history or []
    assert [entry.created_by for entry in history] == ["ENV A=1", "COPY f  /"]
    assert all(entry.created for entry in history)


def test_a_config_that_grows_without_end_is_refused(kitchen: Kitchen) -> None:
    lines = "".join(f"ENV A{n}=$X$X\n" for n in range(20))
    with pytest.raises(BuildError, match=r"Dockerfile:\d+: .*grows beyond 2 MiB"):
        kitchen.build(f"FROM scratch\nENV X={'x' * 200_000}\n{lines}")
    with pytest.raises(BuildError, match=r"Dockerfile:\d+: .*grows beyond 2 MiB"):
        text = lines.replace("ENV", "ARG")
        kitchen.build(f"FROM scratch\nARG X={'x' * 200_000}\n{text}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("EXPOSE http", "not a port"),
        ("EXPOSE 0", "not a port"),
        ("EXPOSE 70000", "not a port"),
        ("EXPOSE 90-80", "not a port"),
        ("EXPOSE 80/icmp", "not a port"),
        ("STOPSIGNAL SIGNOPE", "not a signal"),
        ("STOPSIGNAL 65", "not a signal"),
        ("STOPSIGNAL 0", "not a signal"),
        ("USER $UNSET", "USER: nothing is left"),
        ("WORKDIR $UNSET", "WORKDIR: nothing is left"),
        ("VOLUME $UNSET", "VOLUME: nothing is left"),
        ("ENV $UNSET=1", "ENV: nothing is left"),
        ("LABEL a=${x", "missing"),
        ("ARG a=${x:?needed}", "x: needed"),
    ],
)
def test_mistakes_name_their_line(kitchen: Kitchen, line: str, message: str) -> None:
    with pytest.raises(BuildError, match=rf"^Dockerfile:2: .*{message}"):
        kitchen.build(f"FROM scratch\n{line}")
    assert kitchen.store.list() == []


@pytest.mark.parametrize("signal", ["TERM", "sigusr1", "9", "RTMIN+3", "SIGRTMAX-1"])
def test_signals_by_name_and_number(kitchen: Kitchen, signal: str) -> None:
    assert config(kitchen.build(f"FROM scratch\nSTOPSIGNAL {signal}")).stop_signal == signal
