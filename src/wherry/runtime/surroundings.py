"""What stands ready before a container is asked for, and is the same for all that are forked."""

import os
from importlib import import_module

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime.engines.embedded import Engine
from wherry.runtime.engines.network import keep_lookups_at_home
from wherry.runtime.sandbox import devices, namespaces, seccomp
from wherry.runtime.sandbox.title import Title
from wherry.runtime.wasi import trampolines


class Warmth:
    """What costs time to make and belongs to no namespace: a zygote may be forked with it."""

    def __init__(self, *, eager: bool = True) -> None:
        """Make it all if `eager`, for many containers; else what one needs when it needs it.

        Raises OSError.
        """
        keep_lookups_at_home()
        self.engine = Engine()
        self.title = Title()
        self._filters: dict[tuple[bool | None, bool], bytes] = {}
        if not eager:
            return
        import_module("wherry.runtime.wasi.sockets")  # whose guest has sockets finds it loaded
        for either in (False, True):
            self.engine.linker(component=either)
            self.filter(sockets=either)
        self.filter(sockets=None)
        # Decoding for the first time builds tables that every container would build anew.
        document.decode(b'{"ociVersion": "1.1.0"}', spec.Spec, "warm-up")

    def filter(self, *, sockets: bool | None, hosted: bool = False) -> bytes:
        """The seccomp filter for a guest with or without sockets; None: for no guest. Made once."""
        kind = sockets, hosted
        if kind not in self._filters:
            self._filters[kind] = (
                seccomp.build_for_waiting()
                if sockets is None
                else seccomp.build(allow_sockets=sockets, becomes_program=hosted)
            )
        return self._filters[kind]


class Surroundings:
    """What stands ready in the mount namespace that containers are forked from."""

    def __init__(
        self, state: str, warmth: Warmth, *, namespaced: bool, shared: bool = True
    ) -> None:
        """Keep it in the folder `state`. If `shared`, many containers are to come: what one of them
        may need is made beforehand, and an empty network namespace is there for them all.

        Raises OSError.
        """
        self.warmth = warmth
        self.namespaced = namespaced
        self.no_network: int | None = None
        self._state = state
        self._shared = shared
        self._devices = f"{state}/dev"
        self._trampolines: dict[trampolines.Variant, tuple[str, str]] = {}
        if shared:
            self._put_in_place()
        if namespaced and shared:
            self.no_network = namespaces.empty_network()

    def _put_in_place(self) -> None:
        os.makedirs(self._state, mode=0o700, exist_ok=True)
        for variant in trampolines.VARIANTS:
            self._trampolines[variant] = trampolines.write(self._state, variant)
        if self.namespaced:
            self.furnish()

    def restore(self) -> None:
        """Put in place again what somebody has removed from under us. Raises OSError.

        The folder that it is kept in is that of the compiled code, a cache, which people clear.
        """
        witness = f"{self._devices}/null" if self.namespaced else self._state
        if self._shared and not os.path.exists(witness):
            self._put_in_place()

    def furnish(self) -> None:
        """Mount what containers share, in the mount namespace we are in. Raises OSError."""
        devices.prepare(self._devices)

    @property
    def stage(self) -> str:
        """A folder to assemble what a program of the host's is started from."""
        return f"{self._state}/stage"

    def devices(self) -> str:
        """The folder to bind at /dev. Raises OSError."""
        if not self._shared:
            self.furnish()
        return self._devices

    def trampolines(self, variant: trampolines.Variant) -> tuple[str, str]:
        """The modules that stand between a guest and WASI: front and back, as files."""
        return self._trampolines.get(variant) or trampolines.write(self._state, variant)
