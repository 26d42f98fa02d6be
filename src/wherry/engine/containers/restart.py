"""Restart policies: whether a container that ended is started again, and when.

As in Docker: the first wait is 100 ms, each further one twice as long, a minute at most; a run of
ten seconds starts again from the beginning.
"""

from wherry.engine.config import HostConfig, RestartPolicy
from wherry.engine.containers.container import Container
from wherry.engine.errors import InvalidRequest

_FIRST = 0.1
_LONGEST = 60.0
_LONG_ENOUGH = 10.0
"""Seconds."""

_NAMES = frozenset({"", "no", "always", "unless-stopped", "on-failure"})


def check_policy(policy: RestartPolicy, host: HostConfig) -> None:
    """Raise InvalidRequest for a policy that makes no sense."""
    if policy.name not in _NAMES:
        raise InvalidRequest(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', "
            "'on-failure', or 'unless-stopped'"
        )
    if policy.maximum_retry_count < 0:
        raise InvalidRequest("invalid restart policy: maximum retry count cannot be negative")
    if policy.maximum_retry_count and policy.name != "on-failure":
        raise InvalidRequest(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if host.auto_remove and policy.name not in ("", "no"):
        raise InvalidRequest("can't create 'AutoRemove' container with restart policy")


def delay_before_restart(container: Container, ran_for: float) -> float | None:
    """Seconds to wait before the next run, after one of `ran_for` seconds; None if it is over."""
    exit_code = container.state.exit_code
    container.failures = container.failures + 1 if exit_code else 0
    if not container.backoff or ran_for >= _LONG_ENOUGH:
        container.backoff = _FIRST
    else:
        container.backoff = min(2 * container.backoff, _LONGEST)
    if container.life.stopped_by_hand:
        return None
    policy = container.host.restart_policy
    wanted = policy.name in ("always", "unless-stopped") or (
        policy.name == "on-failure"
        and exit_code != 0
        and (not policy.maximum_retry_count or container.failures <= policy.maximum_retry_count)
    )
    return container.backoff if wanted else None


def starts_with_machine(container: Container) -> bool:
    """Whether a container that does not run is to be started after the machine has restarted."""
    policy = container.host.restart_policy.name
    if policy == "on-failure":
        return container.state.exit_code != 0 and not container.life.stopped_by_hand
    return policy == "always" or (policy == "unless-stopped" and not container.life.stopped_by_hand)
