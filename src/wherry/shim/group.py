"""The containers that one shim server serves, and the server's files.

Cheap to import: `start` does so for each container.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import socket
import stat
from collections.abc import Iterator

from wherry.pids import process_start
from wherry.places import run_folder
from wherry.shim.places import COMMAND, CommandError

_LONGEST_NAME = 200
_CRI_NAMESPACE = "k8s.io"
_SANDBOX = re.compile(rb'"io\.kubernetes\.cri\.sandbox-id":"([A-Za-z0-9_.-]+)"')
_BACKLOG = 1024


class Group:
    """All containers of a containerd namespace or, under CRI, of one pod (`pod` is its sandbox).

    Its files lie in the folder `shim` of the run folder. The pointer names the live server for the
    command's fast path: "PID START ADDRESS". The fast path makes the pointer's name itself and
    runs no program for it, hence plain text and not a digest.
    """

    def __init__(self, folder: str, namespace: str, address: str, pod: str = "") -> None:
        self.namespace = namespace
        self.containerd = address
        self.pod = pod
        name = f"{namespace},{pod},{address.replace('/', ',')}"
        digest = hashlib.sha256(f"{namespace}\0{pod}\0{address}".encode()).hexdigest()[:20]
        self.folder = folder
        self.pointer = f"{folder}/{name if len(name) <= _LONGEST_NAME else digest}"
        self.socket = f"{folder}/{digest}.sock"
        self.log = f"{folder}/{digest}.log"
        self._lock = -1

    @classmethod
    def of_bundle(cls, namespace: str, address: str, bundle: str) -> "Group":
        """The group of a bundle, its folder made. Raises CommandError."""
        folder = f"{run_folder()}/shim"
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            # A folder in /tmp may have been planted there, or be a link that can be turned round.
            places = [(path, os.lstat(path)) for path in (run_folder(), folder)]
        except OSError as error:
            raise CommandError(f"{folder}: {error.strerror}") from None
        for path, status in places:
            if status.st_uid != os.geteuid():
                raise CommandError(
                    f"{path} belongs to uid {status.st_uid}: set WHERRY_RUN to a folder of yours"
                )
            if not stat.S_ISDIR(status.st_mode):
                raise CommandError(f"{path} is a link: set WHERRY_RUN to where it leads")
        pod = _sandbox(bundle) if namespace == _CRI_NAMESPACE else ""
        return cls(folder, namespace, address, pod)

    @property
    def address(self) -> str:
        """What a client connects to."""
        return f"unix://{self.socket}"

    @property
    def command_line(self) -> list[str]:
        """What `ps` shows of its server: words as those of containerd's own shims."""
        of_pod = ["-id", self.pod] if self.pod else []
        return [COMMAND, "-namespace", self.namespace, *of_pod, "-address", self.containerd]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Whoever makes or removes files of servers holds this lock."""
        self._lock = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(self._lock)

    def leave_lock(self) -> None:
        """In a child of who holds the lock: let go of it, that it ends with its holder."""
        os.close(self._lock)

    def is_served(self) -> bool:
        """Whether a server answers at the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.socket)
            except OSError:
                return False
            return True

    def listen(self) -> socket.socket:
        """A socket that listens in the place of a dead server's. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX)
        # Bound beside its place and renamed into it: clients meet the old one or this one.
        beside = f"{self.socket}.{os.getpid()}"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
            listener.bind(beside)
            listener.listen(_BACKLOG)
            os.rename(beside, self.socket)
        except BaseException:
            listener.close()
            raise
        return listener

    def show(self, pid: int) -> None:
        """Let the fast path find the server `pid`. Raises OSError."""
        beside = f"{self.socket}.pointer"
        with open(beside, "w") as file:
            file.write(f"{pid} {process_start(pid)} {self.address}\n")
        os.rename(beside, self.pointer)

    def hide(self) -> None:
        """Let the fast path find no server."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.pointer)

    def clear(self) -> None:
        """Remove the files of a server that has ended or is about to."""
        self.hide()
        for path in (self.socket, self.log):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _sandbox(bundle: str) -> str:
    """The sandbox of a pod's container, from the annotations of its bundle; "" if there is none.

    A look at the text is enough: within a JSON string the quotes would be escaped.
    """
    try:
        with open(f"{bundle}/config.json", "rb") as file:
            found = _SANDBOX.search(file.read())
    except OSError:
        return ""
    return found[1].decode() if found else ""
