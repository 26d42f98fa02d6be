"""The runtime spec's `config.json`: how a bundle is to be run (OCI runtime-spec 1.1).

Only what wherry acts on is typed; other fields are ignored when read, as the spec asks.
Imported by name (`from wherry.oci import runtime`), since only the shim, the runtime and the
engine need it.
"""

import msgspec

NETWORK = "io.wherry.network"
"""Annotation: "none" says that nobody will ever put an interface into the container's network
namespace. Such containers may share an empty one; engines that say nothing get a fresh one, into
which they move interfaces once the container was created."""

PORTS = "io.wherry.ports"
"""Annotation: the container's exposed and published ports, "8080/tcp,9090/tcp", in their order. A
module of WASI 0.1 that takes connections, but makes no sockets, finds one open for each."""

LISTENERS = "io.wherry.listeners"
"""Annotation: the path of a unix socket on the host that hands out the sockets of the container's
published ports (see `runtime.sandbox.listeners`)."""

EGRESS = "io.wherry.egress"
"""Annotation: what the container may reach (see `wherry.egress`). Without it, everything."""

ENFORCER = "io.wherry.egress.enforced-by"
"""Annotation: "network" says that whoever gives the container its network enforces EGRESS there,
for a container of which the runtime cannot: Linux programs and components."""

PROGRAMS = "io.wherry.programs"
"""Annotation: "wasm" says that nothing else is to be run. Without it a Linux program is handed to a
runtime for such, which knows nothing of the sandbox of a Wasm container."""


class _Base(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    pass


class User(_Base):
    """Ids inside the container."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: list[int] | None = None


class ConsoleSize(_Base):
    """Rows and columns of the terminal."""

    height: int = 0
    width: int = 0


class Rlimit(_Base):
    """A resource limit, named as in getrlimit(2): `RLIMIT_NOFILE`."""

    type: str
    hard: int
    soft: int


class Capabilities(_Base):
    """Read so that Linux programs may be handed on; a Wasm container has none."""

    bounding: list[str] | None = None
    effective: list[str] | None = None
    inheritable: list[str] | None = None
    permitted: list[str] | None = None
    ambient: list[str] | None = None


class Process(_Base):
    """The process to run."""

    args: list[str] | None = None
    cwd: str = ""
    """The spec wants it written, so its default is none that omit_defaults would leave out."""
    env: list[str] | None = None
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = msgspec.field(default_factory=User)
    rlimits: list[Rlimit] | None = None
    no_new_privileges: bool = False
    capabilities: Capabilities | None = None
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""


class Root(_Base):
    """The root filesystem, relative to the bundle unless absolute."""

    path: str
    readonly: bool = False


class Mount(_Base):
    """A mount inside the container. Options are those of mount(8) and the spec's list."""

    destination: str
    type: str = ""
    source: str = ""
    options: list[str] | None = None


class Hook(_Base):
    """A program run at a point of the container's life. `timeout` is in seconds."""

    path: str
    args: list[str] | None = None
    env: list[str] | None = None
    timeout: int | None = None


class Hooks(_Base):
    """Hooks in the order of a container's life."""

    prestart: list[Hook] | None = None
    create_runtime: list[Hook] | None = None
    create_container: list[Hook] | None = None
    start_container: list[Hook] | None = None
    poststart: list[Hook] | None = None
    poststop: list[Hook] | None = None

    @property
    def at_creation(self) -> bool:
        """Whether any run while the container is being created."""
        return bool(self.prestart or self.create_runtime or self.create_container)


class Namespace(_Base):
    """A namespace to make, or with `path` to join."""

    type: str
    path: str = ""


class IdMapping(_Base):
    """One line of a uid_map or gid_map."""

    container_id: int = msgspec.field(name="containerID")
    host_id: int = msgspec.field(name="hostID")
    size: int


class Memory(_Base):
    """Bytes; -1 is no limit."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None


class Cpu(_Base):
    """CPU time: `quota` and `period` in microseconds."""

    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    cpus: str = ""
    mems: str = ""


class Pids(_Base):
    """The number of tasks; 0 and below is no limit."""

    limit: int


class Resources(_Base):
    """What the cgroup bounds."""

    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    unified: dict[str, str] | None = None


class Linux(_Base):
    """The Linux part of the spec."""

    namespaces: list[Namespace] | None = None
    uid_mappings: list[IdMapping] | None = None
    gid_mappings: list[IdMapping] | None = None
    cgroups_path: str = ""
    resources: Resources | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    rootfs_propagation: str = ""
    sysctl: dict[str, str] | None = None
    mount_label: str = ""


class Spec(_Base):
    """A whole `config.json`."""

    oci_version: str
    root: Root | None = None
    process: Process | None = None
    mounts: list[Mount] | None = None
    hostname: str = ""
    domainname: str = ""
    hooks: Hooks | None = None
    annotations: dict[str, str] | None = None
    linux: Linux | None = None


class State(_Base):
    """What `state` prints and hooks read on stdin (runtime.md, "State")."""

    oci_version: str
    id: str
    status: str
    bundle: str
    pid: int = 0
    annotations: dict[str, str] | None = None
