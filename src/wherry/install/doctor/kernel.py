"""What the kernel offers for the sandbox, and the limits that it was given."""

import ctypes
import errno
import os
import platform
import pwd
import resource
import shutil
import subprocess
import sys

from wherry.install.doctor.finding import Finding, missing, ok, warning

_SYS_CLONE3, _SYS_OPENAT2 = 435, 437
"""The same on every architecture."""

_CLONE_NEWUSER = 0x10000000
_OLDEST = (5, 6)
"""The kernel that brought openat2; clone3 came before it."""

_FEWEST_FILES = 4096
_LEAST_LOCKED = 64 << 10
_CONTROLLERS = {"cpu", "memory", "pids"}

_UNSHARE = (
    "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True); "
    f"sys.exit(libc.unshare({_CLONE_NEWUSER}) and ctypes.get_errno())"
)


def kernel() -> list[Finding]:
    """System calls, seccomp, limits."""
    subject = "kernel"
    release = platform.release()
    lacking = [name for name, number in (("openat2", _SYS_OPENAT2), ("clone3", _SYS_CLONE3))
               if not _has_call(number)]  # fmt: skip
    if not os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
        lacking.append("seccomp filters")
    findings = [
        missing(subject, f"Linux {release} lacks {', '.join(lacking)}",
                f"Linux {'.'.join(map(str, _OLDEST))} or newer has them; a container's seccomp "
                "profile may hide them")
        if lacking
        else ok(subject, f"Linux {release} has openat2, clone3 and seccomp filters")
    ]  # fmt: skip
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files not in (resource.RLIM_INFINITY,) and files < _FEWEST_FILES:
        findings.append(warning(subject, f"only {files} files may be open", "ulimit -Hn 65536"))
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if locked != resource.RLIM_INFINITY and locked < _LEAST_LOCKED:
        findings.append(warning(subject, f"only {locked} bytes of memory may be locked",
                                "ulimit -Hl 8192"))  # fmt: skip
    return findings


def cgroups() -> list[Finding]:
    """Which version, and whether this user may make some."""
    subject = "cgroups"
    unified = "/sys/fs/cgroup"
    if os.path.exists(f"{unified}/cgroup.controllers"):
        if os.geteuid() == 0:
            return [ok(subject, "version 2")]
        here = unified + _own_group()
        try:
            with open(f"{here}/cgroup.controllers") as file:
                given = set(file.read().split())
        except OSError:
            given = set()
        lacking = sorted(_CONTROLLERS - given)
        if not os.access(here, os.W_OK) or lacking:
            what = f"without {', '.join(lacking)}" if lacking else "not yours to divide"
            return [
                warning(subject, f"version 2, {what}: limits of your own containers may not hold",
                        "log in through systemd with Delegate=yes for user@.service")
            ]  # fmt: skip
        return [ok(subject, "version 2, delegated to you")]
    version = "version 1" if os.path.isdir(f"{unified}/memory") else "none"
    if os.path.isdir(f"{unified}/unified"):
        version += " beside an empty version 2 (hybrid)"
    if version == "none":
        return [warning(subject, "none are mounted: containers have no limits")]
    if os.geteuid():
        return [warning(subject, f"{version}: containers of ordinary users have no limits")]
    return [ok(subject, version)]


def users() -> list[Finding]:
    """User namespaces and the ranges of ids for containers without root."""
    subject = "users"
    number = _unshare_user()
    if number:
        reason = os.strerror(number)
        hint = ""
        if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
            hint = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        elif _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
            hint = "sudo sysctl kernel.unprivileged_userns_clone=1"
        text = f"no user namespaces ({reason}): containers without root have no namespaces"
        return [warning(subject, text, hint)]
    findings = [ok(subject, "user namespaces can be made")]
    if os.geteuid() == 0:
        return findings
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())  # subuid(5) takes a number as well
    ranges = [path for path in ("/etc/subuid", "/etc/subgid") if _has_range(path, name)]
    if len(ranges) < 2:
        hint = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
        findings.append(
            warning(subject, f"{name} has no range of ids: containers have one user", hint)
        )
    elif shutil.which("newuidmap") is None:
        findings.append(warning(subject, "newuidmap is missing", "sudo apt install uidmap"))
    else:
        findings.append(ok(subject, f"{name} has ranges of ids, and newuidmap is there"))
    return findings


def _has_call(number: int) -> bool:
    """Whether the kernel knows a system call; asked with arguments that can do nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(number), None, None, ctypes.c_size_t(0), ctypes.c_size_t(0))
    return ctypes.get_errno() != errno.ENOSYS


def _unshare_user() -> int:
    """The number of the error that making a user namespace gives, 0 when it can be made."""
    # A process of its own: one with threads may not enter a user namespace.
    argv = [sys.executable, "-I", "-S", "-c", _UNSHARE]
    done = subprocess.run(argv, check=False, timeout=10)
    return done.returncode


def _own_group() -> str:
    for line in _read("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].rstrip("/")
    return ""


def _has_range(path: str, name: str) -> bool:
    keys = (name, str(os.geteuid()))
    return any(line.partition(":")[0] in keys for line in _read(path).splitlines())


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read(1 << 20).strip()
    except (OSError, UnicodeDecodeError):
        return ""
