"""Processes beside a container's first: probes, `kubectl exec`, attach and port-forward."""

import pytest
from tests.cri import messages as cri
from tests.cri.client import CriError
from tests.cri.pods import LINUX, SOCKETS, Container, Pod, eventually
from tests.cri.streams import Conversation, converse

pytestmark = [pytest.mark.root, pytest.mark.containerd]


@pytest.fixture
def sleeper(pod: Pod) -> Container:
    """A running Wasm container."""
    container = pod.run("sleep", "1000", name="sleeper")
    container.output(until="ready")
    return container


def test_a_module_runs_beside_the_container(sleeper: Container) -> None:
    assert sleeper.exec("/toolbox.wasm", "both") == (0, "to stdout\n", "to stderr\n")
    code, _, reason = sleeper.exec("/toolbox.wasm", "cat", "/no/such")
    assert (code, "No such file" in reason) == (44, True)
    assert sleeper.status.state == cri.RUNNING


def test_it_sees_the_containers_files(pod: Pod, sleeper: Container) -> None:
    assert sleeper.exec("/toolbox.wasm", "put", "/dev/termination-log", "said by exec")[0] == 0
    assert sleeper.message.read_text() == "said by exec"


def test_a_program_that_is_not_there_fails_alone(sleeper: Container) -> None:
    with pytest.raises(CriError, match=r"/no/such\.wasm"):
        sleeper.exec("/no/such.wasm")
    assert sleeper.status.state == cri.RUNNING


def test_a_probe_that_takes_too_long_is_ended(pod: Pod, sleeper: Container) -> None:
    before = set(pod.node.family(sleeper.pid)) | set(pod.node.family(pod.node.server_of(pod.id)))
    with pytest.raises(CriError) as refusal:
        sleeper.exec("/toolbox.wasm", "sleep", "1000", seconds=1)
    assert refusal.value.code == "DEADLINE_EXCEEDED"
    eventually(lambda: set(pod.node.family(pod.node.server_of(pod.id))) <= before)
    assert sleeper.status.state == cri.RUNNING


def test_many_probes_of_one_container(sleeper: Container) -> None:
    for number in range(10):
        assert sleeper.exec("/toolbox.wasm", "pwd")[0] == 0, number


def test_a_linux_program_beside_a_linux_container(pod: Pod) -> None:
    linux = pod.run("-c", "/busybox sleep 1000", image=LINUX, name="linux")
    assert linux.exec("/busybox", "sh", "-c", "echo out; echo err >&2; exit 3") == (
        3,
        "out\n",
        "err\n",
    )


def test_an_interactive_process(pod: Pod, sleeper: Container) -> None:
    request = cri.ExecRequest(
        container_id=sleeper.id, cmd=("/toolbox.wasm", "cat"), stdin=True, stdout=True, stderr=True
    )

    async def talk(stream: Conversation) -> bytes:
        for line in (b"one\n", b"two\n"):
            await stream.say(line)
            heard = await stream.hear(line)
        return heard

    assert converse(pod.node, pod.cri.exec_address(request), talk) == b"one\ntwo\n"


def test_the_exit_code_of_a_streamed_process(pod: Pod, sleeper: Container) -> None:
    request = cri.ExecRequest(
        container_id=sleeper.id, cmd=("/toolbox.wasm", "cat", "/no/such"), stdout=True, stderr=True
    )
    code, out, reason = converse(pod.node, pod.cri.exec_address(request), Conversation.end)
    assert (code, out) == (44, b"")
    assert b"No such file" in reason


def test_a_process_with_a_terminal(pod: Pod, sleeper: Container) -> None:
    request = cri.ExecRequest(
        container_id=sleeper.id,
        cmd=("/toolbox.wasm", "isatty"),
        tty=True,
        stdin=True,
        stdout=True,
    )
    code, out, _ = converse(pod.node, pod.cri.exec_address(request), Conversation.end)
    assert (code, out) == (0, b"1 1 1\r\n")


def test_the_terminal_of_a_linux_process_is_resized(pod: Pod) -> None:
    linux = pod.run("-c", "/busybox sleep 1000", image=LINUX, name="linux")
    request = cri.ExecRequest(
        container_id=linux.id, cmd=("/busybox", "sh"), tty=True, stdin=True, stdout=True
    )

    async def talk(stream: Conversation) -> bytes:
        await stream.hear(b"#")
        await stream.resize(123, 45)
        while b"45 123" not in await stream.hear(b"#"):
            await stream.say(b"/busybox stty size; echo do''ne\n")
            heard = await stream.hear(b"done")
            if b"45 123" in heard:
                break
        await stream.say(b"exit\n")
        return heard

    assert b"45 123" in converse(pod.node, pod.cri.exec_address(request), talk)


def test_attaching_once_and_again(pod: Pod) -> None:
    container = pod.run("cat", stdin=True)
    request = cri.AttachRequest(container_id=container.id, stdin=True, stdout=True, stderr=True)

    async def talk(stream: Conversation) -> bytes:
        await stream.say(b"echo me\n")
        return await stream.hear(b"echo me\n")

    for _ in range(2):
        assert converse(pod.node, pod.cri.attach_address(request), talk) == b"echo me\n"
    assert container.status.state == cri.RUNNING
    assert container.output(until="me\necho me\n") == "echo me\necho me\n"


def test_a_port_is_forwarded_into_the_pod(pod: Pod) -> None:
    server = pod.run("serve", "8080", image=SOCKETS)
    eventually(lambda: ":1F90 " in (pod.node.proc / f"{server.pid}/net/tcp").read_text())

    async def talk(stream: Conversation) -> bytes:
        port = (8080).to_bytes(2, "little")
        assert await stream.hear(port, 0) == port
        await stream.say(b"GET /page HTTP/1.0\r\n\r\n", 0)
        return await stream.hear(b"GET /page", 0)

    assert b"200 OK" in converse(pod.node, pod.cri.forward_address(pod.id, 8080), talk)
