"""The bundle of a build's step: its `config.json`, and the files that are mounted into it.

What may be secret lies in the run folder, which is in memory where /run is, and never in the data
root; the bundle has links to it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.engine import cgroups
from wherry.engine.builds.step_network import FILES, HOSTNAME
from wherry.engine.containers.users import User, find_user, mapped
from wherry.engine.errors import EngineError
from wherry.engine.linux import Security, choose_capabilities, harden, standard_mounts
from wherry.oci import encode
from wherry.oci import runtime as oci

if TYPE_CHECKING:
    from wherry.build import Step, StepFile

_NAMESPACES = ("pid", "mount", "ipc", "uts")
_SHM = 64 << 20
_FILES = "files"


def write_bundle(
    bundle: Path, private: Path, step: "Step", id: str, *, unprivileged: bool, own_network: bool
) -> None:
    """Describe `step` in `bundle`; `private` is a folder that nobody else may look into.

    In `private` are the files of its network already. Raises EngineError.
    """
    (bundle / "rootfs").mkdir(parents=True)
    files = private / _FILES
    files.mkdir(mode=0o700)
    mounts = [*map(_marked, step.mounts)] if unprivileged else list(step.mounts)
    for number, file in enumerate(step.files):
        mounts.append(_file_mount(files / str(number), file))
    user = find_user(step.user, (), [str(layer) for layer in step.lowerdirs])
    if step.platform.is_wasm:
        spec = _wasm_spec(step, user)
    else:
        spec = _linux_spec(step, mapped(user), own_network)
    spec.mounts = [*(spec.mounts or ()), *(_etc(private) if not step.platform.is_wasm else ())]
    # Mounts in mounts come after those that they lie in.
    spec.mounts += sorted(mounts, key=lambda mount: mount.destination.count("/"))
    assert spec.linux is not None
    path = f"/wherry/{id}"
    spec.linux.cgroups_path = path if step.platform.is_wasm else cgroups.place(path)
    config = private / "config.json"
    config.touch(mode=0o600)
    config.write_bytes(encode(spec))
    (bundle / "config.json").symlink_to(config)


def root_mount(step: "Step", *, unprivileged: bool) -> oci.Mount:
    """The root filesystem."""
    options = [
        f"lowerdir={':'.join(str(layer) for layer in step.lowerdirs)}",
        f"upperdir={step.upperdir}",
        f"workdir={step.workdir}",
    ]
    if unprivileged:
        options.append("userxattr")
    return oci.Mount(destination="/", type="overlay", source="overlay", options=options)


def _wasm_spec(step: "Step", user: User) -> oci.Spec:
    """Nothing but Wasm is run in a stage for Wasm, whatever files it has."""
    annotations = {oci.PROGRAMS: "wasm"}
    if step.network == "none":
        annotations[oci.NETWORK] = "none"
    process = _process(step, user)
    process.no_new_privileges = True
    return oci.Spec(
        oci_version="1.1.0",
        root=oci.Root(path="rootfs"),
        process=process,
        hostname=HOSTNAME,
        annotations=annotations,
        linux=oci.Linux(namespaces=_namespaces(step)),
    )


def _linux_spec(step: "Step", user: User, own_network: bool) -> oci.Spec:
    """The sandbox of every Linux container."""
    process = _process(step, user)
    if user.uid or user.gid:
        # Its own group among the further ones, as in Docker: who may drop groups drops it, too.
        process.user.additional_gids = [*dict.fromkeys((user.gid, *user.groups))]
    names = [variable.partition("=")[0] for variable in step.env]
    if "HOME" not in names:
        process.env = [*step.env, f"HOME={user.home}"]
    allowed = choose_capabilities((), ())
    own = allowed if user.uid == 0 else None
    process.capabilities = oci.Capabilities(
        bounding=allowed, effective=own, permitted=own, inheritable=None
    )
    spec = oci.Spec(
        oci_version="1.1.0",
        root=oci.Root(path="rootfs"),
        process=process,
        hostname=HOSTNAME,
        mounts=standard_mounts(shm_size=_SHM, own_network=own_network),
        linux=oci.Linux(
            namespaces=[*_namespaces(step), oci.Namespace(type="cgroup")],
        ),
    )
    return harden(spec, Security(), privileged=False, capabilities=allowed)


def _process(step: "Step", user: User) -> oci.Process:
    return oci.Process(
        args=step.argv,
        cwd=step.cwd,
        env=step.env,
        user=oci.User(uid=user.uid, gid=user.gid, additional_gids=user.groups or None),
    )


def _namespaces(step: "Step") -> list[oci.Namespace]:
    kinds = _NAMESPACES if step.network == "host" else (*_NAMESPACES, "network")
    return [oci.Namespace(type=kind) for kind in kinds]


def _etc(private: Path) -> list[oci.Mount]:
    return [
        oci.Mount(
            destination=f"/etc/{name}",
            type="bind",
            source=str(private / name),
            options=["rbind", "rprivate"],
        )
        for name in FILES
    ]


def _file_mount(place: Path, file: "StepFile") -> oci.Mount:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as out:
        out.write(file.data)
        try:
            os.fchown(out.fileno(), file.uid, file.gid)
        except OSError as error:
            raise EngineError(
                f"{file.target}: uid={file.uid},gid={file.gid}: {error.strerror}: without root, "
                "only the ids of /etc/subuid and /etc/subgid can be had"
            ) from None
        os.fchmod(out.fileno(), file.mode)
    return oci.Mount(
        destination=file.target,
        type="bind",
        source=str(place),
        options=["bind", "rprivate", "ro"],
    )


def _marked(mount: oci.Mount) -> oci.Mount:
    """Within a user namespace overlay keeps its marks in user.* attributes."""
    if mount.type == "overlay":
        mount.options = [*(mount.options or ()), "userxattr"]
    return mount
