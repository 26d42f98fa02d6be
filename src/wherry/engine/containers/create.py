"""Making a container: the request and the image's defaults become a record, the record a bundle."""

import asyncio
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex

from msgspec import UNSET, structs

from wherry.engine.config import ContainerConfig, HostConfig, NetworkingConfig
from wherry.engine.containers.admission import admit
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.copy_up import copy_up
from wherry.engine.containers.healthcheck import check_healthcheck, merge_healthcheck
from wherry.engine.containers.image_mounts import find_images
from wherry.engine.containers.limits import check_limits, unkept_limits
from wherry.engine.containers.mounts import plan_mounts
from wherry.engine.containers.names import check_name, invent_name
from wherry.engine.containers.networking import (
    Networking,
    check_egress,
    egress_rules,
    plan_networks,
    wished_ports,
)
from wherry.engine.containers.process import PAST_RULES
from wherry.engine.containers.restart import check_policy
from wherry.engine.containers.signals import parse_signal
from wherry.engine.containers.users import find_user, mapped
from wherry.engine.errors import EngineError, InvalidRequest, NotFound
from wherry.engine.images import image_errors
from wherry.engine.images.platforms import read_platform
from wherry.engine.inspection import CreateResult
from wherry.engine.linux import (
    DEFAULT_CAPABILITIES,
    UNCONFINED,
    choose_capabilities,
    find_devices,
    find_init,
    obstacle,
    read_profile,
    read_security,
)
from wherry.engine.networks import HOST, NONE
from wherry.engine.record import Life, Mounted, Record
from wherry.engine.shims import WHERRY
from wherry.images import Image, Selected
from wherry.oci import RuntimeConfig

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62})?", re.ASCII)


class Creator:
    """Makes containers; nothing of one that fails stays."""

    def __init__(self, context: Context, networking: Networking) -> None:
        self._context = context
        self._networking = networking

    async def create(
        self,
        config: ContainerConfig,
        host: HostConfig,
        networking: NetworkingConfig,
        name: str | None,
        platform: str | None,
        verify_key: str,
    ) -> CreateResult:
        """Raises InvalidRequest, Conflict, NotFound (no such image or network), Forbidden."""
        index, id = self._context.index, token_hex(32)
        name = check_name(name) if name else invent_name(index.is_free)
        index.reserve(name)
        try:
            with self._context.store.hold():
                return await self._create(id, name, config, host, networking, platform, verify_key)
        except OSError as error:
            index.release(name)
            raise EngineError(f"the container cannot be made: {error.strerror}") from None
        except BaseException:
            index.release(name)
            raise

    async def _create(
        self,
        id: str,
        name: str,
        config: ContainerConfig,
        host: HostConfig,
        networking: NetworkingConfig,
        platform: str | None,
        verify_key: str,
    ) -> CreateResult:
        context = self._context
        _check(config, host)
        try:
            networks, remarks = plan_networks(context, config, host, networking)
        except NotFound as error:
            # Of what is not found while it creates, the docker CLI believes that it is the image.
            raise InvalidRequest(error.message) from None
        selected = self._find_image(config.image, platform)
        image = selected.image
        admission = await admit(context.gate, image, config.image, verify_key)
        warnings = _check_program(image, config, host)
        warnings += unkept_limits(host, is_wasm=image.platform.is_wasm)
        if selected.told:
            remarks.append(selected.told)
        with image_errors():
            layers = [str(path) for path in await self._layers(image)]
        if not image.platform.is_wasm:
            warnings += _left_out(context.store.left_out(image))
        defaults = image.config.config or RuntimeConfig()
        config = _merge(config, defaults)
        check_egress(config, host)
        args = _command(config)
        config.hostname = config.hostname or id[:12]
        host.runtime = host.runtime or WHERRY
        user = find_user(config.user, host.group_add or (), layers)
        if not image.platform.is_wasm:
            user = mapped(user)
        mounts = plan_mounts(host, config.volumes or (), self._inherited(host))
        further = await find_images(context, mounts, image.platform, verify_key)
        record = Record(
            id=id,
            name=name,
            created=time.time_ns(),
            config=config,
            host=host,
            image_id=image.id,
            manifest=structs.replace(image.descriptor, platform=image.platform),
            admissions=[admission, *further],
            platform=str(image.platform),
            choice=selected.told,
            args=args,
            layers=layers,
            mounts=mounts,
            user=(user.uid, user.gid),
            groups=user.groups,
            home=user.home,
            networks=networks,
        )
        container = Container(record, Life())
        if await self._publishes_nothing(container):
            remarks.append(
                "Published ports have been discarded: the program neither makes sockets nor takes "
                "connections of any"
            )
        await self._keep(container)
        context.tell(container, "create")
        return CreateResult(id=id, warnings=[*warnings, *remarks])

    async def _keep(self, container: Container) -> None:
        """Make what the container has on the disk, and remember it: all of that or nothing."""
        context, record = self._context, container.record
        try:
            self._make_volumes(record)
            await copy_up(context, record)
            _make_bundle(context.bundle(container), record)
            context.state.add_container(record, container.life)
        except BaseException:
            shutil.rmtree(context.bundle(container), ignore_errors=True)
            context.volumes.discard_pending(record.id)
            raise
        context.index.add(container)
        volumes = [mount.name for mount in record.mounts if mount.type == "volume"]
        context.volumes.settle(record.id, volumes)

    async def _publishes_nothing(self, container: Container) -> bool:
        """Whether nothing would ever answer at the ports that are to be published."""
        if HOST in container.record.networks or NONE in container.record.networks:
            return False
        if not wished_ports(container.config, container.host):
            return False
        return not await self._networking.wants_network(container)

    def _find_image(self, name: str, platform: str | None) -> Selected:
        """The image to run, and how it was chosen where there was a choice."""
        if not name:
            raise InvalidRequest("no image was named")
        with image_errors():
            return self._context.store.select(name, read_platform(platform))

    async def _layers(self, image: Image) -> Iterable[Path]:
        return await asyncio.to_thread(self._context.store.lowerdirs, image)

    def _inherited(self, host: HostConfig) -> list[Mounted]:
        """What `--volumes-from` brings."""
        mounts: list[Mounted] = []
        for text in host.volumes_from or ():
            reference, _, mode = text.partition(":")
            if mode not in ("", "ro", "rw", "z", "Z"):
                raise InvalidRequest(f"invalid mode for volumes-from: {mode}")
            for mount in self._context.index.get(reference).record.mounts:
                read_only = mount.read_only or mode == "ro"
                mounts.append(structs.replace(mount, read_only=read_only, copy=False))
        return mounts

    def _make_volumes(self, record: Record) -> None:
        volumes = self._context.volumes
        nameless = [mount for mount in record.mounts if mount.type == "volume" and not mount.name]
        for mount, name in zip(
            nameless, volumes.create_anonymous(len(nameless), record.id), strict=True
        ):
            mount.name = name
        for mount in record.mounts:
            if mount.type == "volume":
                volumes.create(mount.name, labels=mount.labels)
            elif mount.type == "bind" and not os.path.exists(mount.source):
                if not mount.create_source:
                    raise InvalidRequest(
                        'invalid mount config for type "bind": bind source path does not exist: '
                        f"{mount.source}"
                    )
                _make_source(mount.source)


def _left_out(paths: list[str]) -> list[str]:
    """Device nodes that a Linux program will miss; those in /dev are the container's own anyway."""
    missing = sorted(path for path in paths if not path.startswith("dev/"))
    if not missing:
        return []
    more = f" and {len(missing) - 1} more" if missing[1:] else ""
    return [
        f"The image's device node /{missing[0]}{more} has been left out: only an engine of root's "
        "can make device nodes; --device gives one of this machine's"
    ]


def _make_source(path: str) -> None:
    try:
        os.makedirs(path, mode=0o755)
    except OSError as error:
        raise InvalidRequest(
            f"error while creating mount source path '{path}': {error.strerror}"
        ) from None


def _make_bundle(bundle: Path, record: Record) -> None:
    for name in ("", "rootfs", "upper", "work"):
        (bundle / name).mkdir(mode=0o711)
    # The container sees it as its root.
    (bundle / "upper").chmod(0o755)
    if record.config.open_stdin:
        os.mkfifo(bundle / "stdin", 0o600)


def _merge(config: ContainerConfig, image: RuntimeConfig) -> ContainerConfig:
    """What was asked for, and the image's defaults for the rest (Docker's rules)."""
    given = {entry.partition("=")[0] for entry in config.env or ()}
    inherited = [entry for entry in image.env or () if entry.partition("=")[0] not in given]
    merged = structs.replace(
        config,
        user=config.user or image.user,
        env=inherited + list(config.env or ()),
        labels={**(image.labels or {}), **config.labels},
        working_dir=config.working_dir or image.working_dir,
        volumes={**(image.volumes or {}), **(config.volumes or {})} or None,
    )
    if image.exposed_ports:
        merged.exposed_ports = {**image.exposed_ports, **(config.exposed_ports or {})}
    # An entrypoint of one empty word takes the image's away.
    if config.entrypoint == [""]:
        merged.entrypoint = None
    elif not config.entrypoint:
        merged.entrypoint = image.entrypoint
        merged.cmd = config.cmd or image.cmd
    if merged.stop_signal is UNSET and image.stop_signal:
        merged.stop_signal = image.stop_signal
    merged.healthcheck = merge_healthcheck(config.healthcheck, image.healthcheck)
    if merged.shell is UNSET and image.shell:
        merged.shell = image.shell
    if merged.working_dir and not merged.working_dir.startswith("/"):
        merged.working_dir = f"/{merged.working_dir}"
    return merged


def _command(config: ContainerConfig) -> list[str]:
    """The words to run. Raises InvalidRequest."""
    words = [*(config.entrypoint or ()), *(config.cmd or ())]
    if not words:
        raise InvalidRequest("no command specified: the image has no ENTRYPOINT and no CMD")
    if any("\0" in word for word in words):
        raise InvalidRequest("a word of the command has a zero byte, which no program is given")
    return words


def _check(config: ContainerConfig, host: HostConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidRequest(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute "
            "path"
        )
    for entry in config.env or ():
        if not entry or entry.startswith("="):
            raise InvalidRequest(f"invalid environment variable: {entry}")
    for text in (*(config.env or ()), *(config.cmd or ()), *(config.entrypoint or ())):
        if "\0" in text:
            raise InvalidRequest("a command or environment variable holds a NUL byte")
    if config.hostname and not _HOSTNAME.fullmatch(config.hostname):
        raise InvalidRequest(f"invalid hostname format: {config.hostname[:80]}")
    if config.stop_signal:
        parse_signal(config.stop_signal)
    if config.stop_timeout is not UNSET and config.stop_timeout < -1:
        raise InvalidRequest("the stop timeout is a number of seconds, or -1 for no limit")
    if config.healthcheck is not UNSET:
        check_healthcheck(config.healthcheck)
    check_policy(host.restart_policy, host)
    for mode, flag in (
        (host.pid_mode, "--pid"),
        (host.uts_mode, "--uts"),
        (host.userns_mode, "--userns"),
    ):
        if mode not in ("", "private"):
            raise InvalidRequest(f"{flag}={mode} is not supported: a container has its own")
    if host.ipc_mode not in ("", "private", "none", "shareable"):
        raise InvalidRequest(f"--ipc={host.ipc_mode} is not supported: a container has its own")
    check_limits(host)


def _check_program(image: Image, config: ContainerConfig, host: HostConfig) -> list[str]:
    """Whether there is something to run the image with, as it is asked for; warnings.

    Raises InvalidRequest.
    """
    if image.platform.is_wasm:
        if host.privileged:
            return ["A WebAssembly container has no privileges: --privileged does nothing"]
        return []
    if host.runtime in ("", WHERRY) and (reason := obstacle(image.platform)):
        name = image.names[0] if image.names else image.id
        platform = str(image.platform)
        told = f"is for {platform}" if platform else "does not say what platform it is for"
        raise InvalidRequest(f"image {name} {told}: {reason}")
    if host.init is True:
        find_init()
    if host.device_requests:
        raise InvalidRequest("--gpus is not supported: there is no driver for it; see --device")
    find_devices(host.devices or ())
    allowed = choose_capabilities(
        host.cap_add or (), host.cap_drop or (), privileged=host.privileged
    )
    security, warnings = read_security(host.security_opt or ())
    if security.seccomp not in ("", UNCONFINED):
        read_profile(security.seccomp, allowed)
    widened = [name for name in allowed if name in PAST_RULES and name not in DEFAULT_CAPABILITIES]
    if widened and egress_rules(config, host) is not None:
        raise InvalidRequest(
            f"rules of egress cannot hold a container that has {widened[0]}: leave out "
            "--privileged and --cap-add, or the rules"
        )
    return warnings
