"""Other people's rules that would drop what our networks forward: Docker's above all.

dockerd sets iptables' policy for forwarded packets to drop; what our own table accepts is then
dropped all the same, because packets pass every table. So, only where that policy is to drop, a
chain `WHERRY-FORWARD` of our own is called at the end of iptables' `FORWARD`, after all that Docker
and the host's administrator have put there, and accepts what comes from or goes to our bridges.
What is let through between those is decided by our own table. Nothing else of anybody's is changed.
"""

import shutil
import subprocess

CHAIN = "WHERRY-FORWARD"
_PROGRAMS = ("iptables", "ip6tables")
_DOCKERS = ("docker0", "br-+")
_PATIENCE = 10
"""Seconds to wait for iptables' lock and answer."""


def admit(bridge: str) -> str:
    """Have iptables let packets of `bridge` through, where it would drop them.

    Returns one line for people if that failed, else nothing.
    """
    for program in _PROGRAMS:
        if shutil.which(program) is None or not _drops(program):
            continue
        _run(program, "-N", CHAIN)  # fails if it is there
        rules = [["FORWARD", "-j", CHAIN]]
        # To Docker's containers the policy goes on to hold.
        rules += [[CHAIN, "-i", bridge, "-o", name, "-j", "RETURN"] for name in _DOCKERS]
        rules += [[CHAIN, direction, bridge, "-j", "ACCEPT"] for direction in ("-i", "-o")]
        for rule in rules:
            if _run(program, "-C", *rule).returncode == 0:
                continue
            done = _run(program, "-A", *rule)
            if done.returncode != 0:
                said = (done.stderr.strip().splitlines() or ["no reason told"])[-1]
                return (
                    f"{program} drops forwarded packets and takes no rule ({said}): containers in "
                    f"{bridge} reach nothing outside; try {program} -P FORWARD ACCEPT"
                )
    return ""


def dismiss(bridge: str) -> None:
    """Remove what `admit` added for a bridge, and the chain with the last one."""
    for program in _PROGRAMS:
        if shutil.which(program) is None or _run(program, "-S", CHAIN).returncode != 0:
            continue
        for name in _DOCKERS:
            _run(program, "-D", CHAIN, "-i", bridge, "-o", name, "-j", "RETURN")
        for direction in ("-i", "-o"):
            _run(program, "-D", CHAIN, direction, bridge, "-j", "ACCEPT")
        if "-A" not in _run(program, "-S", CHAIN).stdout:
            _run(program, "-D", "FORWARD", "-j", CHAIN)
            _run(program, "-X", CHAIN)


def _drops(program: str) -> bool:
    return "-P FORWARD DROP" in _run(program, "-S", "FORWARD").stdout


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [program, "-w", str(_PATIENCE), *arguments],
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=2 * _PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess([program], 1, "", str(error))
