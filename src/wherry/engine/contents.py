"""What images have inside: `GET /images/NAME/wasm` and `GET /images/NAME/sbom`."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from wherry import interpreter
from wherry import programs as on_this_machine
from wherry.engine.errors import EngineError, InvalidRequest, NotFound
from wherry.engine.images import image_errors
from wherry.images import Image
from wherry.oci import WASM, parse_reference

if TYPE_CHECKING:
    from wherry.engine.engine import Engine
    from wherry.engine.looking import LayerPlace, Question

FORMS = ("cyclonedx-json", "cyclonedx-xml")
"""Of a bill of materials; the first one is written when nobody asks for another."""

_PATIENCE = 600.0
_AT_ONCE = 2
"""Images looked into at the same time; it takes memory and a processor for each."""


class Contents:
    """Looks into images, each time in a process of its own."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def wasm(self, name: str, platform: str | None = None) -> bytes:
        """All about the program of an image, as JSON (`wherry.wasm.Anatomy`).

        Of an image that runs none the first module in it; of one for several platforms what is for
        WebAssembly, unless another platform is asked for. Raises NotFound, InvalidRequest when
        there is no WebAssembly in it, EngineError.
        """
        image = self._engine.images.resolve(name, platform)
        if platform is None and not image.platform.is_wasm:
            with suppress(NotFound, InvalidRequest):
                image = self._engine.images.resolve(name, str(WASM))
        return await self._ask(image, name, "")

    async def sbom(self, name: str, platform: str | None = None, form: str = "") -> bytes:
        """The bill of materials of an image. Raises NotFound, InvalidRequest, EngineError."""
        form = form or FORMS[0]
        if form not in FORMS:
            raise InvalidRequest(f"format {form[:80]!r} is not known: say {' or '.join(FORMS)}")
        return await self._ask(self._engine.images.resolve(name, platform), name, form)

    async def _ask(self, image: Image, name: str, form: str) -> bytes:
        from wherry.engine.artifacts import places

        async with self._turns:
            with image_errors(), self._engine.store.hold():
                layers = await asyncio.to_thread(places, self._engine.store, image)
                question = _question(image, name, layers, form)
                return await _look(question)


def _question(image: Image, name: str, layers: "list[LayerPlace]", form: str) -> "Question":
    from wherry.engine.looking import Question, programs

    config = image.config.config
    words = (config.entrypoint or config.cmd or []) if config else []
    # As it was asked for, if that is one of its names: else a bill would speak of another.
    chosen = next((each for each in image.names if each in (name, f"{name}:latest")), "")
    reference = parse_reference(chosen or image.names[0]) if image.names else None
    return Question(
        form=form,
        id=image.id,
        digest=image.digest,
        name=reference.familiar_name if reference else "",
        tag=(reference.tag or "") if reference else "",
        created=image.config.created or "",
        author=image.config.author,
        platform=str(image.platform),
        layers=layers,
        programs=programs(words, config.working_dir, config.env or []) if config else [],
        has_command=bool(on_this_machine.wasmtime()),
    )


async def _look(question: "Question") -> bytes:
    """Have it answered. Raises InvalidRequest with what the process says, EngineError."""
    process = await asyncio.create_subprocess_exec(
        *interpreter.command("wherry.engine.looking"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            answer, said = await process.communicate(msgspec.json.encode(question))
    except TimeoutError:
        raise EngineError(f"the image could not be looked into in {_PATIENCE:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return answer
    lines = said.decode(errors="replace").strip().splitlines()
    if process.returncode == 1 and len(lines) == 1:
        raise InvalidRequest(lines[0][:1000])
    why = lines[-1][:500] if lines else f"status {process.returncode}"
    raise EngineError(f"the image could not be looked into: {why}")
