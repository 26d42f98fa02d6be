"""A blob coming down: goes on where it was cut, by Range."""

from collections.abc import Callable

from wherry.oci import Descriptor
from wherry.registry.answer import Answer
from wherry.registry.cancel import Cancel
from wherry.registry.errors import InvalidAnswer, RegistryError, Unreachable
from wherry.registry.headers import content_range
from wherry.registry.patience import Patience

_SKIPPED = 256 << 10


class BlobStream:
    """Reads at most the bytes that the descriptor says; whoever reads checks the digest.

    `ask(offset)` requests the blob from there on, and answers with 200 or 206.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        offset: int,
        ask: Callable[[int], Answer],
        patience: Patience,
        cancel: Cancel,
        distrust: Callable[[], bool],
    ) -> None:
        self._size = descriptor.size
        self._name = descriptor.digest
        self._ask = ask
        self._patience = patience
        self._cancel = cancel
        self._distrust = distrust
        self._failures = 0
        if self._size < 0:
            raise InvalidAnswer(f"{self._name} cannot have {self._size} bytes")
        self._answer: Answer | None = None
        self.offset = min(offset, self._size)
        """Where the first byte read is in the blob: as asked for, or 0 if that was ignored."""
        if self.offset < self._size or not self._size:
            self._answer, self.offset = self._open(offset)
        self._at = self.offset

    def read(self, size: int) -> bytes:
        """Up to `size` more bytes; none at the end of the blob.

        Raises Unreachable when it was cut too often without any progress, InvalidAnswer, Abandoned.
        """
        wanted = min(size, self._size - self._at)
        while wanted > 0:
            try:
                answer = self._answer or self._resume()
                data = answer.read(wanted)
                if not data:
                    raise Unreachable(f"{self._name} ended after {self._at} bytes", again=True)
            except RegistryError as error:
                self._put_up_with(error)
                continue
            self._at += len(data)
            self._failures = 0
            return data
        self._cancel.check()
        return b""

    def refuse(self) -> bool:
        """Say that these are not the bytes of the digest: their server is not asked any more.

        True if there is another one that `Repository.blob` will ask.
        """
        return self._distrust()

    def close(self) -> None:
        """Give the connection back, or close it if the blob was not read to its end."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def __enter__(self) -> "BlobStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put_up_with(self, error: RegistryError) -> None:
        """Wait before another try. Raises the error when there is no use in one."""
        self.close()
        self._failures += 1
        # Somebody was there before: that nobody is now (which is not `again`) may pass as well.
        if not error.again and not isinstance(error, Unreachable):
            raise error
        self._patience.wait(error, self._failures, self._cancel)

    def _resume(self) -> Answer:
        answer, at = self._open(self._at)
        self._answer = answer
        while at < self._at:  # the Range was ignored: pass over what was read before
            skipped = answer.read(min(self._at - at, _SKIPPED))
            if not skipped:
                raise Unreachable(f"{self._name} ended after {at} bytes", again=True)
            at += len(skipped)
        return answer

    def _open(self, offset: int) -> tuple[Answer, int]:
        """The answer to a request from `offset` on, and where it begins."""
        answer = self._ask(offset)
        begin, size = 0, answer.length
        if answer.status == 206:
            found = content_range(answer.headers.get("Content-Range"))
            if found is None or found[0] != offset or found[2] not in (None, self._size):
                answer.close()
                raise InvalidAnswer(f"{self._name}: what came is not the range asked for")
            begin, size = offset, None if size is None else offset + size
        if size is not None and size != self._size:
            answer.close()
            raise InvalidAnswer(
                f"{self._name} has {size} bytes, and not the {self._size} of its descriptor"
            )
        return answer, begin
