"""One file of a cgroup: reading it, writing it, and saying what was wrong when it is refused."""

import errno
import os
import select
import time


class CgroupError(OSError):
    """A cgroup could not be made, set or removed. The message is one line."""


def read(path: str) -> str | None:
    """Return the text of a control file, or None when there is no such file (any more)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        chunks = []
        while chunk := os.read(descriptor, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks).decode()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_number(path: str) -> int | None:
    """Return the number a file holds; None when it is absent or says "max"."""
    text = read(path)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def read_table(path: str) -> dict[str, int]:
    """Return the "key number" lines of a file; empty when it is absent."""
    table = {}
    for line in (read(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            table[key] = int(value)
    return table


def write(path: str, value: str) -> None:
    """Write one value. Raises OSError, as the kernel answers."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def set_value(path: str, value: str) -> None:
    """Write one value of a limit. Raises CgroupError that names the file and the value."""
    try:
        write(path, value)
    except OSError as error:
        raise refused(path, value, error) from None


def set_pair(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Write two values that bound each other, in the order in which the kernel accepts them."""
    try:
        write(*first)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise refused(*first, error) from None
        set_value(*second)
        set_value(*first)
    else:
        set_value(*second)


def refused(path: str, value: str, error: OSError) -> CgroupError:
    """Word the kernel's refusal of a value."""
    name = os.path.basename(path)
    if error.errno == errno.EBUSY:
        return CgroupError(f"cannot set {name} to {value}: the container uses more than that now")
    return CgroupError(f"cannot set {name} to {value}: {error.strerror}")


def wait_for(path: str, key: str, value: int, seconds: float) -> bool:
    """Wait until the table in `path` holds `key value` (or the file is gone); False in time-out.

    Only for files the kernel notifies of: `cgroup.events`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    wanted = f"{key} {value}"
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(descriptor, select.POLLPRI)
    try:
        while True:
            try:
                text = os.pread(descriptor, 4096, 0).decode()
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return True
                raise
            if wanted in text.splitlines():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
    finally:
        os.close(descriptor)
