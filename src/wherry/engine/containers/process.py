"""The processes of a container as OCI describes them: its first one, and those that exec adds."""

from collections.abc import Iterable, Sequence

from wherry.engine.containers.networking.plan import egress_rules
from wherry.engine.containers.users import User
from wherry.engine.linux import choose_capabilities, read_security
from wherry.engine.record import Record
from wherry.oci import runtime as oci

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PAST_RULES = frozenset({"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"})
"""With these a program makes packets by hand, or changes what narrows its egress."""


def first_process(record: Record) -> oci.Process:
    """What a container starts with."""
    uid, gid = record.user
    return build_process(
        record,
        args=record.args,
        env=record.config.env or (),
        cwd=record.config.working_dir,
        user=User(uid, gid, record.groups, record.home),
        tty=record.config.tty,
        size=record.host.console_size,
    )


def build_process(
    record: Record,
    *,
    args: Sequence[str],
    env: Iterable[str],
    cwd: str,
    user: User,
    tty: bool,
    size: tuple[int, int] = (0, 0),
    privileged: bool = False,
) -> oci.Process:
    """A process in the container of `record`, under its limits. `size` is rows and columns.

    A `privileged` one has every capability, though its container has not.
    """
    is_wasm = record.is_wasm
    security, _ = read_security(record.host.security_opt or ())
    groups = user.groups
    if not is_wasm and (user.uid or user.gid):
        # Its own group among the further ones, as in Docker: who may drop groups drops it, too.
        groups = [*dict.fromkeys((user.gid, *groups))]
    process = oci.Process(
        args=list(args),
        cwd=cwd or "/",
        env=_environment(record.config.hostname, user.home, env, tty=tty),
        terminal=tty,
        user=oci.User(uid=user.uid, gid=user.gid, additional_gids=groups or None),
        rlimits=[
            oci.Rlimit(type=f"RLIMIT_{limit.name.upper()}", hard=limit.hard, soft=limit.soft)
            for limit in record.host.ulimits or ()
        ]
        or None,
        no_new_privileges=is_wasm or security.no_new_privileges,
        oom_score_adj=record.host.oom_score_adj or None,
    )
    if tty and any(size):
        process.console_size = oci.ConsoleSize(height=size[0], width=size[1])
    if not is_wasm:
        allowed = capabilities_of(record, privileged=privileged)
        # Who is not root has them only within reach, by programs that give them.
        held = allowed if user.uid == 0 else None
        process.capabilities = oci.Capabilities(bounding=allowed, effective=held, permitted=held)
    return process


def capabilities_of(record: Record, *, privileged: bool = False) -> list[str]:
    """What a Linux program in the container of `record` may do beyond others.

    Raises InvalidRequest.
    """
    host = record.host
    allowed = choose_capabilities(
        host.cap_add or (), host.cap_drop or (), privileged=privileged or host.privileged
    )
    narrowed = egress_rules(record.config, host) is not None
    return [each for each in allowed if not (narrowed and each in PAST_RULES)]


def _environment(hostname: str, home: str, given: Iterable[str], *, tty: bool) -> list[str]:
    """Docker's own variables and `given`; of a name that is given twice the last counts."""
    env = {"PATH": _PATH, "HOSTNAME": f"HOSTNAME={hostname}", "HOME": f"HOME={home}"}
    if tty:
        env["TERM"] = "TERM=xterm"
    for entry in given:
        name, equals, _ = entry.partition("=")
        if equals:
            env[name] = entry
        else:
            # A name without a value takes the variable away.
            env.pop(name, None)
    return list(env.values())
