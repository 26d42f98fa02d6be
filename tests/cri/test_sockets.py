"""Modules with sockets in pods, which have a network of CNI: WASI 0.1's own, and WasmEdge's.

Components with sockets of WASI 0.2 are in test_pods.
"""

import pytest
from tests.cri.node import Node
from tests.cri.pods import LINUX, Pod, eventually

pytestmark = [pytest.mark.root, pytest.mark.containerd, pytest.mark.guests]

SERVER, CLIENT = "localhost/preopened:latest", "localhost/client:latest"


def fetch(pod: Pod, *urls: str) -> list[str]:
    """What a Linux container of the pod gets, line by line."""
    script = "; ".join(f"/busybox wget -qO- {url}" for url in urls)
    linux = pod.run("-c", script, image=LINUX, name="fetch")
    assert linux.wait().exit_code == 0
    eventually(lambda: linux.output().count("\n") >= len(urls))
    return linux.output().splitlines()


def test_a_module_finds_its_images_ports_open(node: Node) -> None:
    with Pod(node) as server, Pod(node) as client:
        container = server.run(image=SERVER)
        assert container.output(until="\n") == "listening on 8080/tcp:9090/tcp\n"
        urls = [f"http://{server.ip}:8080/x", f"http://{server.ip}:9090/file/notes.txt"]
        assert fetch(client, *urls) == ["8080/tcp GET /x HTTP/1.1", "some notes"]


def test_the_environment_does_not_outdo_the_image(pod: Pod) -> None:
    container = pod.run(image=SERVER, env={"PORT": "7000"})
    assert container.output(until="\n") == "listening on 8080/tcp:9090/tcp\n"


def test_two_containers_of_a_pod_cannot_serve_the_same_port(pod: Pod) -> None:
    pod.run(image=SERVER).output(until="\n")
    second = pod.container(image=SERVER, name="second")
    with pytest.raises(Exception, match="port 8080 is in use already"):
        second.start()
    second.remove()


def test_a_client_reaches_a_linux_server_by_name(node: Node) -> None:
    with Pod(node) as server, Pod(node) as client:
        script = "echo from linux >/page; /busybox httpd -f -p 8001 -h /"
        sockets = node.proc / f"{server.run('-c', script, image=LINUX).pid}/net/tcp6"
        eventually(lambda: ":1F41 " in sockets.read_text())  # it listens
        container = client.container("http://files:8001/page", image=CLIENT)
        with (client.folder / "etc-hosts").open("a") as hosts:
            hosts.write(f"{server.ip}\tfiles\n")
        container.start()
        assert container.wait().exit_code == 0
        assert "from linux" in container.output(until="linux")
