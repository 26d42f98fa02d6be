"""Whose certificates are believed, and which one is shown."""

import contextlib
import os
import ssl
from collections.abc import Callable

import msgspec

from wherry.registry.errors import RegistryError


class Trust(msgspec.Struct, frozen=True):
    """For TLS with one host. Paths are of PEM files."""

    ca: tuple[str, ...] = ()
    """Authorities that are believed, beside those of the system."""
    client: tuple[tuple[str, str], ...] = ()
    """Certificates, with their keys, that show who we are."""
    verify: bool = True

    def files(self) -> tuple[tuple[int, ...], ...]:
        """What changes when one of the files is replaced or edited."""
        found = []
        for path in (*self.ca, *(path for pair in self.client for path in pair)):
            with contextlib.suppress(OSError):  # which `context` will tell
                state = os.stat(path)
                found.append((state.st_ino, state.st_mtime_ns, state.st_size))
        return tuple(found)

    def context(self) -> ssl.SSLContext:
        """Settings for TLS. Takes some 20 ms, of which the system's authorities take most.

        Raises RegistryError when a file cannot be read or is no certificate.
        """
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for path in self.ca:
            _load(path, lambda path=path: context.load_verify_locations(path))  # type: ignore[misc]
        for certificate, key in self.client:
            _load(certificate, lambda c=certificate, k=key: context.load_cert_chain(c, k, ""))  # type: ignore[misc]
        return context


def _load(path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        said = error.reason or "not a certificate in PEM form, or its key is another's"
        raise RegistryError(f"{path}: {said.replace('_', ' ').lower()}") from None
    except OSError as error:
        raise RegistryError(f"cannot read {path}: {error.strerror}") from None
