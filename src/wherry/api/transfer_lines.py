"""What happens in a pull or a push, as the documents of Docker's JSON stream."""

from typing import Any

from wherry.engine.images.flow import Announced, BlobState, BlobStatus, Event

_BAR = 50
_UNITS = ("B", "kB", "MB", "GB", "TB")


def shown(event: Event) -> list[dict[str, Any]]:
    """The documents for one event."""
    if isinstance(event, Announced):
        about = {"id": event.id} if event.id else {}
        return [{"status": event.text, **about}]
    if isinstance(event, BlobStatus):
        return [_status(event)]
    aux = {"Tag": event.tag, "Digest": event.digest, "Size": event.size}
    return [{"progressDetail": {}, "aux": aux}]


def failure(message: str) -> dict[str, Any]:
    """The last document of a stream that ends with an error."""
    return {"errorDetail": {"message": message}, "error": message}


def _status(event: BlobStatus) -> dict[str, Any]:
    if event.state is BlobState.MOUNTED:
        return {"status": f"Mounted from {event.origin}", "progressDetail": {}, "id": event.id}
    if not event.total:
        return {"status": event.state.value, "progressDetail": {}, "id": event.id}
    return {
        "status": event.state.value,
        "progressDetail": {"current": event.current, "total": event.total},
        "progress": _bar(event.current, event.total),
        "id": event.id,
    }


def _bar(current: int, total: int) -> str:
    """The progress as Docker draws it for clients that draw nothing themselves."""
    done = min(_BAR, current * _BAR // total)
    sizes = f"{_size(current):>8}/{_size(total)}"
    return f"[{'=' * done}>{' ' * (_BAR - done)}] {sizes}"


def _size(count: int) -> str:
    """Bytes as people read them, in powers of 1000 with four digits."""
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.4g}{_UNITS[unit]}"
