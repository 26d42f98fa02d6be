"""Which ports a module is given listening sockets for."""

import json
from pathlib import Path

import pytest

from wherry.oci import runtime as spec
from wherry.runtime import LaunchError, ports

ID = "0123abc"


def config(annotation: str | None = None, *mounts: Path) -> spec.Spec:
    annotations = None if annotation is None else {spec.PORTS: annotation}
    bound = [spec.Mount(destination=f"/etc/{path.name}", source=str(path)) for path in mounts]
    return spec.Spec(oci_version="1.1.0", annotations=annotations, mounts=bound)


def dockers_record(folder: Path, **record: object) -> Path:
    """Where Docker keeps its container's files; returns that of the names."""
    place = folder / ID
    place.mkdir()
    (place / "config.v2.json").write_text(json.dumps(record))
    return place / "hosts"


def test_the_annotation_tells_them_in_order() -> None:
    assert ports.of_config(config("9090/tcp,8080/tcp, 53/udp 8081"), ID) == [8080, 8081, 9090]


def test_ranges_are_all_the_ports_within() -> None:
    assert ports.parse(["8000-8003/tcp", "8002"]) == [8000, 8001, 8002, 8003]


def test_docker_keeps_a_record_beside_what_it_mounts(tmp_path: Path) -> None:
    exposed: dict[str, object] = {"80/tcp": {}, "53/udp": {}, "9000/tcp": {}}
    hosts = dockers_record(tmp_path, ID=ID, Config={"ExposedPorts": exposed, "Image": "x"})
    assert ports.of_config(config(None, hosts), ID) == [80, 9000]


def test_the_annotation_counts_for_more_than_dockers_record(tmp_path: Path) -> None:
    hosts = dockers_record(tmp_path, ID=ID, Config={"ExposedPorts": {"80/tcp": {}}})
    assert ports.of_config(config("81", hosts), ID) == [81]


def test_docker_exposes_none(tmp_path: Path) -> None:
    hosts = dockers_record(tmp_path, ID=ID, Config={"ExposedPorts": None})
    assert ports.of_config(config(None, hosts), ID) == []


@pytest.mark.parametrize(
    "record",
    [
        '{"ID": "another", "Config": {"ExposedPorts": {"80/tcp": {}}}}',
        '{"ID": "0123abc"}',
        '{"ID": "0123abc", "Config": {"ExposedPorts": 5}}',
        "not json",
        "[" * 100_000,
    ],
)
def test_what_is_no_record_of_dockers_tells_nothing(tmp_path: Path, record: str) -> None:
    hosts = dockers_record(tmp_path)
    (hosts.parent / "config.v2.json").write_text(record)
    assert ports.of_config(config(None, hosts), ID) is None


def test_a_folder_of_another_name_is_not_dockers(tmp_path: Path) -> None:
    hosts = dockers_record(tmp_path, ID=ID, Config={"ExposedPorts": {"80/tcp": {}}})
    assert ports.of_config(config(None, hosts), "another") is None


def test_without_anything_nothing_is_known() -> None:
    assert ports.of_config(config(), ID) is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (["PORT=8080"], [8080]),
        (["A=b", "PORT=1", "PORT=2"], [1]),
        (["PORT=0"], []),
        (["PORT=65536"], []),
        (["PORT=99999999999"], []),
        (["PORT=http"], []),
        (["PORT="], []),
        (["PORT"], []),
        ([], []),
    ],
)
def test_port_is_a_variable_as_elsewhere(environment: list[str], expected: list[int]) -> None:
    assert ports.of_environment(environment) == expected


@pytest.mark.parametrize("text", ["http", "0/tcp", "65536", "90-80", "-1", "1-", "1-70000", "²"])
def test_what_is_no_port_is_told(text: str) -> None:
    with pytest.raises(LaunchError, match="is no port"):
        ports.parse([text])


def test_so_many_ports_are_refused() -> None:
    with pytest.raises(LaunchError, match="more than 256 ports"):
        ports.parse(["1-65535"])
