"""The rows of the table: what is measured, against whom, within which budget."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable

from bench import images, inside_shim, memory, throughput, web
from bench.containerds_api import Client
from bench.figures import Row, Sample
from bench.linux import linux_echo
from bench.pods import memory as pod_memory
from bench.runtime_command import COLD, wasm_echo, wasm_in_crun
from bench.stage import Missing, Stage
from bench.timing import Attempt, first_byte, in_turns, whole


def docker_echo(stage: Stage) -> list[str]:
    """The peer of `wherry run --rm hello`: a Linux echo, without the cost of a network."""
    return stage.dockerd.argv(
        "run", "--rm", "--network", "none", "busybox", "/bin/echo", "hello from a Linux container"
    )


def warm(stage: Stage) -> list[Row]:
    """`wherry run --rm hello`, the engine running."""
    mine = whole(stage.wherry.argv("run", "--rm", "hello"), stage.wherry.environment)
    ours, theirs = in_turns(stage.runs, mine, whole(docker_echo(stage)))
    name = "wherry run --rm hello, warm"
    return [Row(name, ours, "docker run --rm, Linux echo", theirs, budget=1 / 8)]


def cold(stage: Stage) -> list[Row]:
    """The same as the first command ever: neither engine nor shim running."""
    run = whole(stage.wherry.argv("run", "--rm", "hello"), stage.wherry.environment)

    def mine() -> float:
        stage.wherry.end()
        shutil.rmtree(stage.wherry.run_dir, ignore_errors=True)
        return run()

    ours, theirs = in_turns(max(3, stage.runs // 3), mine, whole(docker_echo(stage)))
    name = "wherry run --rm hello, first command"
    return [Row(name, ours, "docker run --rm, Linux echo", theirs, budget=2)]


def create(stage: Stage) -> list[Row]:
    """Create, start and first byte within the shim; the whole sandbox included."""
    wasmtime = first_byte(stage.precompiled(stage.guests.wasm("environ")))
    name, peer = "create to first byte, in the shim", "wasmtime run, precompiled, no sandbox"
    with inside_shim.driven(stage, network=True) as attempt:
        networked, theirs = in_turns(stage.runs * 4, attempt, wasmtime)
    rows = [Row(f"{name}, with a network of its own", networked, peer, theirs)]
    with inside_shim.driven(stage, network=False) as attempt:
        ours, theirs = in_turns(stage.runs * 4, attempt, wasmtime)
    rows.append(Row(name, ours, peer, theirs, limit=5))
    for runtime in ("runc", "crun"):
        try:
            with linux_echo(runtime) as argv:
                (linux,) = in_turns(stage.runs, first_byte(argv))
            rows.append(Row(name, ours, f"{runtime} run, Linux echo", linux))
        except Missing as error:
            rows.append(Row(name, ours, f"{runtime} run, Linux echo", missing=str(error)))
    return rows


def runtime(stage: Stage) -> list[Row]:
    """`wherry-runtime run` of a Wasm module against Linux and Wasm containers of runc and crun."""
    rows = []
    with wasm_echo(stage) as (argv, environment):
        warm = whole(argv, environment)
        cold = whole(argv, {**environment, COLD: "1"})
        for name in ("runc", "crun"):
            peer = f"{name} run, Linux echo"
            try:
                with linux_echo(name) as linux:
                    hot, cool, theirs = in_turns(stage.runs * 2, warm, cold, whole(linux))
            except Missing as error:
                rows.append(Row("wherry-runtime run", missing=str(error)))
                continue
            rows.append(Row("wherry-runtime run, warm", hot, peer, theirs))
            rows.append(Row("wherry-runtime run, cold", cool, peer, theirs))
    peer = "crun run with WasmEdge, same module"
    try:
        with wasm_in_crun(stage) as (crun, argv, environment):
            warm = whole(argv, environment)
            cold = whole(argv, {**environment, COLD: "1"})
            hot, cool, theirs = in_turns(stage.runs * 2, warm, cold, whole(crun, environment))
    except Missing as error:
        return [*rows, Row("wherry-runtime run", missing=str(error))]
    rows.append(Row("wherry-runtime run, warm", hot, peer, theirs))
    rows.append(Row("wherry-runtime run, cold", cool, peer, theirs))
    return rows


def build(stage: Stage) -> list[Row]:
    """A scratch image of one file, new content each time."""
    context = stage.wherry.folder / "one-file"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY data /data\nENTRYPOINT ["/data"]\n')
    numbers = itertools.count()

    def changed(attempt: Attempt) -> Attempt:
        def attempt_on_new_content() -> float:
            (context / "data").write_text(f"content {next(numbers)}\n" * 1000)
            return attempt()

        return attempt_on_new_content

    mine = whole(
        stage.wherry.argv("build", "-q", "-t", "one", str(context)), stage.wherry.environment
    )
    dockers = stage.dockerd.argv("build", "-q", "-t", "one", str(context))
    buildx = subprocess.run(stage.dockerd.argv("buildx", "version"), capture_output=True)
    name, environment = "docker build, with buildx", None
    if buildx.returncode != 0:
        name, environment = "docker build, classic (no buildx)", {**os.environ}
        environment["DOCKER_BUILDKIT"] = "0"
    ours, theirs = in_turns(stage.runs, changed(mine), changed(whole(dockers, environment)))
    return [Row("build of a one-file scratch image", ours, name, theirs, budget=0.1)]


def compute(stage: Stage) -> list[Row]:
    """Time of a computation as the guest itself measures it."""
    module = stage.guests.toolbox()
    image = stage.wherry.image("toolbox", module)

    def told(argv: list[str], env: dict[str, str] | None) -> Attempt:
        def attempt() -> float:
            done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
            return float(done.stdout.split()[1])

        return attempt

    words = ("compute", "500")
    ours, theirs = in_turns(
        max(5, stage.runs // 2),
        told(stage.wherry.argv("run", "--rm", image, *words), stage.wherry.environment),
        told([*stage.precompiled(module), *words], None),
    )
    return [Row("compute inside the guest", ours, "wasmtime run", theirs, budget=1.02)]


def imported(stage: Stage) -> tuple[str, str]:
    """The names of a Wasm and of a Linux image in the stage's containerd."""
    archive = stage.wherry.folder / "hello.tar"
    stage.wherry.ok("save", "-o", archive, "hello")
    below = stage.containerd
    rootfs = stage.dockerd.folder / "busybox.tar"
    saved = stage.dockerd.docker("save", "-o", str(rootfs), "busybox")
    assert saved.returncode == 0, saved.stderr
    for file, platform in ((archive, ["--platform", "wasi/wasm"]), (rootfs, [])):
        done = below.ctr("images", "import", *platform, str(file))
        if done.returncode != 0:
            raise Missing(f"ctr images import: {done.stderr.strip()}")
    names = below.ctr("images", "ls", "-q").stdout.split()
    wasm = next(name for name in names if "hello" in name)
    return wasm, next(name for name in names if "busybox" in name)


def ctr(stage: Stage) -> list[Row]:
    """`ctr run --rm` through a containerd, the same of a Linux echo with runc."""
    wasm, linux = imported(stage)
    below = stage.containerd

    def run(runtime: str, image: str, *words: str) -> Attempt:
        command = below.argv("run", "--rm", "--runtime", runtime, image, "measured", *words)
        return whole(command)

    ours, theirs = in_turns(
        stage.runs,
        run("io.containerd.wherry.v1", wasm),
        run("io.containerd.runc.v2", linux, "/bin/echo", "hello"),
    )
    return [Row("ctr run --rm, through containerd", ours, "the same with runc", theirs, budget=0.5)]


def docker(stage: Stage) -> list[Row]:
    """`docker run --rm` through Docker 26: a Wasm image in wherry's shim, a Linux one in runc."""
    dockers = stage.docker
    rows = []
    for network in ("none", "bridge"):
        run = ("run", "--rm", "--network", network)
        wasm = ("--runtime", "io.containerd.wherry.v1", "--platform", "wasi/wasm", "hello")
        ours, theirs = in_turns(
            stage.runs,
            whole(dockers.argv(*run, *wasm)),
            whole(dockers.argv(*run, "busybox", "/bin/echo", "hello")),
        )
        name = f"docker run --rm, network {network}"
        rows.append(Row(name, ours, "the same with runc", theirs, budget=0.7))
    return rows


def tasks(stage: Stage) -> list[Row]:
    """Tasks through containerd's API, one after the other and many at a time."""
    wasm, linux = imported(stage)
    client = Client(stage.containerd)
    images = [
        client.image("io.containerd.wherry.v1", wasm),
        client.image("io.containerd.runc.v2", linux, "/bin/echo", "hello"),
    ]
    rows = []
    for at_once, budget in ((1, None), (8, 0.4), (32, None)):
        ours, theirs = throughput.rounds(client, images, at_once)
        name = f"a task through containerd, {at_once} at a time"
        rows.append(Row(name, ours, "the same with runc", theirs, budget=budget))
    client.close()
    return rows


def idle(stage: Stage) -> list[Row]:
    """PSS of one idle container, its sandbox included."""
    ours = memory.idle_containers(stage)
    name = "idle container, PSS"
    rows = [Row(name, ours, "wasmtime run, no sandbox", memory.idle_wasmtime(stage), limit=3)]
    try:
        rows.append(Row(name, ours, "Linux container and its shim", memory.idle_linux(stage)))
    except Missing as error:
        rows.append(Row(name, ours, "Linux container and its shim", missing=str(error)))
    return rows


def pods(stage: Stage) -> list[Row]:
    """PSS of a pod with one Wasm container: alone on its node, and as one of twenty."""
    return [
        Row(
            f"a pod with one Wasm container, one of {count}, PSS",
            pod_memory(stage, count),
            limit=19,
        )
        for count in (20, 1)
    ]


def many(stage: Stage) -> list[Row]:
    """That many containers alive at once: how many there were, what each took."""
    crowd = memory.crowd(stage)
    return [
        Row("containers alive at once", Sample("", (crowd.alive,))),
        Row("MemAvailable for each of them", Sample("MB", (crowd.memory,)), limit=3.5),
        Row("to create and start one of them", crowd.started),
    ]


ROWS: dict[str, Callable[[Stage], list[Row]]] = {
    "warm": warm,
    "cold": cold,
    "create": create,
    "runtime": runtime,
    "build": build,
    "compute": compute,
    "ctr": ctr,
    "docker": docker,
    "tasks": tasks,
    "idle": idle,
    "pods": pods,
    "many": many,
    "web": web.sockets,
    "published": web.published,
    "wasi-http": web.http,
    "transfer": images.transfer,
    "unpack": images.unpack,
    "images": images.listing,
}
