"""Volumes."""

import msgspec

from wherry.api.call import Call, empty_answer, json_answer
from wherry.api.http import Response


class _Creation(msgspec.Struct, kw_only=True, rename="pascal"):
    name: str | None = ""
    driver: str | None = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None


async def listing(call: Call) -> Response:
    """`docker volume ls`."""
    found = call.engine.volumes.list(call.filters())
    return json_answer({"Volumes": found, "Warnings": None})


async def create(call: Call) -> Response:
    """`docker volume create`."""
    wanted = await call.json(_Creation)
    volume = call.engine.volumes.create(
        wanted.name or "",
        driver=wanted.driver or "local",
        options=wanted.driver_opts,
        labels=wanted.labels,
    )
    return json_answer(volume, 201)


async def inspect(call: Call) -> Response:
    """`docker volume inspect`."""
    return json_answer(call.engine.volumes.get(call.path["name"]))


async def remove(call: Call) -> Response:
    """`docker volume rm`."""
    await call.engine.volumes.remove(call.path["name"], force=call.flag("force"))
    return empty_answer()


async def prune(call: Call) -> Response:
    """`docker volume prune`."""
    return json_answer(await call.engine.volumes.prune(call.filters()))
