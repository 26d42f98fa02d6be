"""Requests as clients send them become structs; structs become Docker's JSON."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine import InvalidRequest
from wherry.engine.config import (
    ContainerConfig,
    EndpointAddresses,
    HostConfig,
    decode_create,
    decode_update,
)


def test_what_the_docker_cli_sends() -> None:
    body = {
        "Hostname": "", "User": "", "AttachStdout": True, "Tty": False, "OpenStdin": True,
        "StdinOnce": True, "Env": None, "Cmd": ["a", "b"], "Image": "hello", "Volumes": {"/v": {}},
        "Entrypoint": None, "OnBuild": None, "Labels": {"k": "v"}, "StopTimeout": 3,
        "HostConfig": {
            "Binds": ["/a:/b:ro"], "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}},
            "NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8"}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "AutoRemove": True,
            "ConsoleSize": [24, 80], "CapAdd": None, "Memory": 67108864, "NanoCpus": 500000000,
            "PidsLimit": 0, "Ulimits": [{"Name": "nofile", "Hard": 2, "Soft": 1}],
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 5}}],
            "UTSMode": "", "ShmSize": 0, "Annotations": {"io.wherry.timeout": "2.5"},
            "BlkioWeight": 0, "Devices": [],
        },
        "NetworkingConfig": {"EndpointsConfig": {}},
    }  # fmt: skip
    config, host, _ = decode_create(msgspec.json.encode(body))
    assert type(config) is ContainerConfig
    assert (config.cmd, config.env, config.stop_timeout) == (["a", "b"], None, 3)
    assert (host.binds, host.auto_remove, host.console_size) == (["/a:/b:ro"], True, (24, 80))
    assert host.restart_policy.maximum_retry_count == 3
    assert host.annotations == {"io.wherry.timeout": "2.5"}
    assert host.port_bindings["80/tcp"] == [msgspec.convert(
        {"HostIp": "", "HostPort": "8"}, type(host.port_bindings["80/tcp"][0])  # type: ignore[index]
    )]  # fmt: skip


def test_null_is_not_given_and_a_word_is_a_command_of_one() -> None:
    config, host, _ = decode_create(
        b'{"Hostname": null, "Cmd": "run", "Entrypoint": "/e", "HostConfig": {"Memory": null}}'
    )
    assert (config.hostname, config.cmd, config.entrypoint) == ("", ["run"], ["/e"])
    assert host.memory == 0


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"Cmd": 5}', b'{"HostConfig": []}', b"\xff"])
def test_nonsense_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_create(body)
    assert "\n" not in caught.value.message


def test_networks_are_joined_with_and_without_a_word_about_them() -> None:
    said = {"IPAMConfig": {"IPv4Address": "10.1.2.3"}, "Aliases": ["db"], "MacAddress": None}
    body = {"NetworkingConfig": {"EndpointsConfig": {"silent": None, "told": said}}}
    _, _, networking = decode_create(msgspec.json.encode(body))
    assert list(networking.endpoints_config) == ["silent", "told"]
    told = networking.endpoints_config["told"]
    assert told.ipam_config == EndpointAddresses(ipv4_address="10.1.2.3")
    assert (told.aliases, told.mac_address) == (["db"], "")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Cmd",
                        "Env",
                        "HostConfig",
                        "Binds",
                        "NetworkingConfig",
                        "EndpointsConfig",
                        "x",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_taken_or_refused(value: object) -> None:
    try:
        decode_create(msgspec.json.encode(value))
        decode_update(msgspec.json.encode(value))
    except InvalidRequest:
        pass


def test_structs_survive_as_json() -> None:
    host = HostConfig(memory=5, tmpfs={"/run": ""}, binds=["a:/b"])
    again = msgspec.json.decode(msgspec.json.encode(host), type=HostConfig)
    assert again == host
    names = msgspec.json.decode(msgspec.json.encode(host))
    assert {"ContainerIDFile", "UTSMode", "NanoCpus", "ReadonlyRootfs", "CpusetCpus"} < set(names)
