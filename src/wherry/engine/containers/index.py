"""Finding a container by what people type, without looking at all of them."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from wherry.engine.containers.container import Container
from wherry.engine.errors import Conflict, InvalidRequest, NotFound


class Index:
    """Containers by id, name and beginning of id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, Container | None] = {}
        self._ids: list[str] = []

    def __iter__(self) -> Iterator[Container]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: str) -> bool:
        return id in self._by_id

    def reserve(self, name: str) -> None:
        """Keep a name for a container that is being made. Raises Conflict.

        Release it with `release` if the container does not come to be.
        """
        if name in self._by_name:
            owner = self._by_name[name]
            whose = f'by container "{owner.id}"' if owner else "by a container that is being made"
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use {whose}. You have to '
                "remove (or rename) that container to be able to reuse that name."
            )
        self._by_name[name] = None

    def is_free(self, name: str) -> bool:
        """Whether no container has that name."""
        return name not in self._by_name

    def release(self, name: str) -> None:
        """Give a name free."""
        self._by_name.pop(name, None)

    def add(self, container: Container) -> None:
        """Put in a container; its name may have been reserved."""
        self._by_id[container.id] = container
        self._by_name[container.name] = container
        insort(self._ids, container.id)

    def remove(self, container: Container) -> None:
        """Take out a container."""
        if self._by_id.pop(container.id, None) is None:
            return
        self._by_name.pop(container.name, None)
        del self._ids[bisect_left(self._ids, container.id)]

    def rename(self, container: Container, name: str) -> None:
        """Let the reserved `name` be the container's, before its record says so."""
        self._by_name.pop(container.name, None)
        self._by_name[name] = container

    def get(self, reference: str) -> Container:
        """By id, by name, by beginning of id. Raises NotFound, InvalidRequest (ambiguous)."""
        name = reference.removeprefix("/")
        found = self._by_id.get(name) or self._by_name.get(name)
        if found is not None:
            return found
        at = bisect_left(self._ids, name) if name else len(self._ids)
        matching = [id for id in self._ids[at : at + 2] if id.startswith(name)]
        if not matching:
            raise NotFound(f"No such container: {reference}")
        if len(matching) > 1:
            raise InvalidRequest(
                f"multiple IDs found with provided prefix: {reference}: type more of it"
            )
        return self._by_id[matching[0]]
