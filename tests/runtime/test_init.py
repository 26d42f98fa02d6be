"""The init that `docker run --init` puts before a program."""

from wherry.oci import runtime as spec
from wherry.runtime.program import without_init


def _without_init(*args: str) -> list[str] | None:
    return without_init(spec.Process(cwd="/", args=list(args))).args


def test_a_guest_runs_without_the_init_of_docker_or_podman() -> None:
    for init in ("/sbin/docker-init", "/run/podman-init"):
        assert _without_init(init, "--", "/a.wasm", "b") == ["/a.wasm", "b"]


def test_an_image_may_have_an_init_of_its_own_or_run_docker_s_alone() -> None:
    for args in (["/sbin/init", "--", "/a"], ["/sbin/docker-init"], ["/sbin/docker-init", "/a"]):
        assert _without_init(*args) == args
