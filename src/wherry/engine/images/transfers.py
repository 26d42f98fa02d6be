"""Pulls and pushes: the registries seen from the loop. Imported with the first transfer."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wherry.engine.images.credentials import NOBODY, Credentials, by_host
from wherry.engine.images.flow import Flows
from wherry.engine.images.manifests import Manifests
from wherry.engine.images.pulls import Pulls
from wherry.engine.images.pushes import Pushes
from wherry.engine.images.registries import Registries, transfer_errors
from wherry.engine.worker import run_in_thread
from wherry.images.transfer import Origins
from wherry.images.transfer.lists import ManifestLists
from wherry.oci import Digest, Reference, parse_digest
from wherry.places import config_folders
from wherry.registry import Cancel, Client, Hosts, WebFile

if TYPE_CHECKING:
    from wherry.engine.engine import Engine
    from wherry.engine.trust.remote import Fetched

T = TypeVar("T")


class Transfers:
    """Everything that moves between the engine's store and registries."""

    def __init__(self, engine: "Engine") -> None:
        self._store = engine.store
        self._client = Client(Hosts(_folders()))
        self._flows = Flows()
        origins = Origins(engine.root / "images" / "origins.json", engine.store.blobs)
        lists = ManifestLists(engine.root / "manifests")
        self.registries = Registries(self._client)
        self.manifests = Manifests(engine.store, self._client, lists)
        self.pulls = Pulls(engine, self._client, self._flows, origins)
        self.pushes = Pushes(engine, self._client, self._flows, origins, self.manifests)

    async def close(self) -> None:
        """End what is under way; the next try goes on from there."""
        await self._flows.close()
        self._client.close()

    async def fetch_signatures(
        self,
        reference: Reference,
        subjects: Sequence[Digest],
        credentials: Credentials | None,
        mirrors: Mapping[str, Credentials] = NOBODY,
    ) -> None:
        """Bring the signatures that manifests and indexes of a repository have in its registry."""
        from wherry.engine.trust.remote import fetch

        def work() -> None:
            repository = self._client.repository(reference, credentials, others=by_host(mirrors))
            with self._store.hold():
                for each in fetch(repository, subjects):
                    each.keep(self._store, reference)

        with transfer_errors():
            await run_in_thread(work, "signatures")

    async def signatures_of(
        self,
        reference: Reference,
        credentials: Credentials | None,
        mirrors: Mapping[str, Credentials] = NOBODY,
    ) -> "tuple[Digest, list[Fetched]]":
        """What a name stands for in its registry, and the signatures of that; nothing is kept."""
        from wherry.engine.trust.remote import fetch

        def ask() -> "tuple[Digest, list[Fetched]]":
            repository = self._client.repository(reference, credentials, others=by_host(mirrors))
            target = repository.resolve(reference.selector)
            digest = parse_digest(target.digest)
            return digest, fetch(repository, [digest])

        with transfer_errors():
            return await run_in_thread(ask, "signatures")

    def open_url(self, url: str, cancel: Cancel) -> WebFile:
        """A file of the web; blocking. Raises RegistryError."""
        return self._client.fetch(url, cancel)

    async def ask(self, work: Callable[[Manifests], T]) -> T:
        """Do `work` with manifests, in a thread. Raises NotFound, Unauthorized, InvalidRequest."""
        with transfer_errors():
            return await run_in_thread(lambda: work(self.manifests), "manifests")


def _folders() -> list[Path]:
    """Where people and other engines say how registries are reached."""
    own, machine = config_folders()
    places = (machine, own, "/etc/containerd", "/etc/docker")
    return [Path(place) / "certs.d" for place in places]
