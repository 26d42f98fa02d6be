"""Sending a blob: in one piece, and from where it was cut (distribution-spec, "Pushing blobs")."""

from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO

from wherry.oci import Descriptor, parse_digest
from wherry.registry.answer import Answer
from wherry.registry.errors import (
    UNANSWERED,
    Abandoned,
    Denied,
    InvalidAnswer,
    NotFound,
    RegistryError,
    Unreachable,
)
from wherry.registry.exchange import Exchange
from wherry.registry.headers import uploaded
from wherry.registry.url import Url

_PIECE = 256 << 10
_CHUNK = 64 << 20
"""Bytes a request, for registries that do not take a large blob in one."""
_MAX_CHUNK = 1 << 30
_LOST = 3
"""Failures without any progress after which an upload is begun anew."""
_TOO_LARGE = 413
_OUT_OF_ORDER = 416


class Upload:
    """One blob's way into a repository of a server.

    `session` is where the registry waits for it already, after a mount that came to nothing.
    """

    def __init__(
        self,
        server: Exchange,
        path: str,
        scopes: Collection[str],
        descriptor: Descriptor,
        open_at: Callable[[int], BinaryIO],
        progress: Callable[[int], None],
        session: Url | None = None,
    ) -> None:
        self._server = server
        self._path = path
        self._scopes = scopes
        self._digest = parse_digest(descriptor.digest)
        self._size = descriptor.size
        self._open_at = open_at
        self._progress = progress
        self._session = session
        self._offset = 0
        """The bytes that the registry has."""
        self._chunk: int | None = None
        """Bytes a request; None for all there are."""
        self._least = 1
        """What the registry takes as a chunk at least."""
        self._resumed = False

    def send(self) -> None:
        """See Repository.upload."""
        failures, furthest = 0, -1
        while True:
            try:
                if failures and self._session is not None:
                    self._ask_how_far()
                    if self._session is None and self._is_there():
                        break
                if self._session is None:
                    self._begin()
                if self._send_rest():
                    break
            except RegistryError as error:
                if self._offset > furthest:
                    failures, furthest = 0, self._offset
                failures += 1
                self._put_up_with(error, failures)
                if failures >= _LOST:  # who has lost a session may answer 500 for ever
                    self._session = None
        self._progress(self._size)

    def _send_rest(self) -> bool:
        """True when the registry has the whole blob; False if it has to begin anew."""
        while self._session is not None:
            if self._step(self._session):
                return True
        return False

    def _begin(self) -> None:
        where = self._server.url(f"{self._path}/blobs/uploads/", *self._algorithm())
        answer = self._ask("POST", where, (202,), b"", tries=None)
        self._least = _least_chunk(answer)
        self._session = self._server.location(answer)
        self._offset = 0
        self._resumed = False

    def _algorithm(self) -> list[tuple[str, str]]:
        """What a registry wants to know to hash what comes as it comes."""
        algorithm = self._digest.partition(":")[0]
        return [] if algorithm == "sha256" else [("digest-algorithm", algorithm)]

    def _step(self, session: Url) -> bool:
        """Send what is left, or a chunk of it. True when the registry has the whole blob."""
        if self._offset == 0 and self._chunk is None:
            return self._finish(session, self._size)
        if self._offset == self._size:
            return self._finish(session, 0)
        length = min(self._chunk or self._size, self._size - self._offset)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(length),
            "Content-Range": f"{self._offset}-{self._offset + length - 1}",
        }
        answer = self._ask(
            "PATCH",
            session,
            (202, 204, 201, _OUT_OF_ORDER, _TOO_LARGE),
            lambda: self._pieces(length),
            headers,
        )
        if answer.status == _TOO_LARGE:
            self._take_smaller()
            return False
        self._session = self._server.location(answer, session)
        has = uploaded(answer.headers.get("Range"))
        has = self._sane(self._offset + length if has is None else has)
        if answer.status == _OUT_OF_ORDER or has <= self._offset:
            raise Unreachable(f"{self._server.host.authority} has lost its place", again=True)
        self._offset = has
        return False

    def _finish(self, session: Url, length: int) -> bool:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        where = session.asking(("digest", self._digest))
        answer = self._ask(
            "PUT", where, (201, 204, _TOO_LARGE), lambda: self._pieces(length), headers
        )
        if answer.status == _TOO_LARGE:
            self._take_smaller()
            return False
        return True

    def _take_smaller(self) -> None:
        """The registry, or a proxy before it, takes no request of this size."""
        smaller = _CHUNK if self._chunk is None else self._chunk // 4
        if smaller < max(self._least, _PIECE):
            raise RegistryError(f"{self._server.host.authority} takes no blobs of this size")
        self._chunk = max(smaller, self._least)
        self._session = None

    def _ask_how_far(self) -> None:
        assert self._session is not None
        try:
            answer = self._ask("GET", self._session, (204, 200, 202), None, tries=None)
        except (Denied, *UNANSWERED):
            raise
        except RegistryError:  # it is forgotten, or such questions are not understood there
            self._session = None
            return
        self._session = self._server.location(answer, self._session)
        self._offset = self._sane(uploaded(answer.headers.get("Range")) or 0)
        self._resumed = True
        self._progress(self._offset)

    def _sane(self, offset: int) -> int:
        if offset > self._size:
            raise InvalidAnswer(
                f"{self._server.host.authority} says it has {offset} bytes of {self._digest},"
                f" which has {self._size}"
            )
        return offset

    def _is_there(self) -> bool:
        """Whether the blob arrived after all, and only the answer was lost."""
        where = f"{self._path}/blobs/{self._digest}"
        try:
            self._ask("HEAD", where, (200,), None, tries=None)
        except (Denied, *UNANSWERED):
            raise
        except RegistryError:
            return False
        return True

    def _put_up_with(self, error: RegistryError, failures: int) -> None:
        """Wait before another try. Raises the error when there is no use in one."""
        passing = error.again or isinstance(error, NotFound | Unreachable)
        if not passing:
            if not self._resumed or isinstance(error, Abandoned | Denied):
                raise error
            # What went on from the middle was refused as a whole: only the beginning is left.
            self._session, self._resumed = None, False
        self._server.patience.wait(error, failures, self._server.cancel)

    def _ask(
        self,
        method: str,
        where: str | Url,
        expect: Collection[int],
        body: bytes | Callable[[], Iterator[bytes]] | None,
        headers: dict[str, str] | None = None,
        tries: int | None = 1,
    ) -> Answer:
        """The answer, read to its end."""
        answer = self._server.ask(
            method,
            where,
            self._digest,
            self._scopes,
            expect=expect,
            headers=headers,
            body=body,
            tries=tries,
        )
        answer.close()
        return answer

    def _pieces(self, length: int) -> Iterator[bytes]:
        at, end = self._offset, self._offset + length
        if not length:
            return
        try:
            with self._open_at(at) as file:
                while at < end:
                    self._server.cancel.check()
                    piece = file.read(min(_PIECE, end - at))
                    if not piece:
                        raise RegistryError(f"{self._digest} ends after {at} bytes: it is damaged")
                    yield piece
                    at += len(piece)
                    self._progress(at)
        except OSError as error:  # not to be taken for one of the connection's
            raise RegistryError(f"cannot read {self._digest}: {error.strerror}") from None


def _least_chunk(answer: Answer) -> int:
    text = answer.headers.get("OCI-Chunk-Min-Length", "").strip()
    if not (text.isascii() and text.isdigit()):
        return 1
    return min(max(int(text), 1), _MAX_CHUNK) if len(text) < 20 else _MAX_CHUNK
