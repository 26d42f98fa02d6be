"""The routes of the API: method, path and handler, one line each."""

import re
from typing import NamedTuple

from wherry.api import (
    archive,
    builds,
    containers,
    execs,
    images,
    manifests,
    networks,
    registries,
    signatures,
    streams,
    system,
    volumes,
)
from wherry.api.call import Handler


class Route(NamedTuple):
    """One route. An interruptible handler ends when its client goes; others finish."""

    pattern: re.Pattern[str]
    handler: Handler
    interruptible: bool


_FINISHES = "the handler runs to its end"
_STREAMS = "the handler ends with its client"

_TABLE = (
    ("GET", "/version", system.version, _FINISHES),
    ("GET", "/info", system.info, _FINISHES),
    ("GET", "/system/df", system.usage, _STREAMS),
    ("GET", "/system/check", system.check, _STREAMS),
    ("POST", "/system/repair", system.repair, _STREAMS),
    ("GET", "/events", system.events, _STREAMS),
    ("POST", "/auth", registries.login, _FINISHES),
    ("GET", "/containers/json", containers.listing, _FINISHES),
    ("POST", "/containers/create", containers.create, _FINISHES),
    ("POST", "/containers/prune", containers.prune, _FINISHES),
    ("GET", "/containers/{name}/json", containers.inspect, _FINISHES),
    ("GET", "/containers/{name}/top", containers.top, _FINISHES),
    ("GET", "/containers/{name}/changes", containers.changes, _STREAMS),
    ("POST", "/containers/{name}/start", containers.start, _FINISHES),
    ("POST", "/containers/{name}/stop", containers.stop, _FINISHES),
    ("POST", "/containers/{name}/restart", containers.restart, _FINISHES),
    ("POST", "/containers/{name}/kill", containers.kill, _FINISHES),
    ("POST", "/containers/{name}/pause", containers.pause, _FINISHES),
    ("POST", "/containers/{name}/unpause", containers.unpause, _FINISHES),
    ("POST", "/containers/{name}/rename", containers.rename, _FINISHES),
    ("POST", "/containers/{name}/update", containers.update, _FINISHES),
    ("POST", "/containers/{name}/resize", containers.resize, _FINISHES),
    ("DELETE", "/containers/{name}", containers.remove, _FINISHES),
    ("POST", "/containers/{name}/wait", streams.wait, _STREAMS),
    ("POST", "/containers/{name}/attach", streams.attach, _STREAMS),
    ("GET", "/containers/{name}/logs", streams.logs, _STREAMS),
    ("GET", "/containers/{name}/stats", streams.stats, _STREAMS),
    ("HEAD", "/containers/{name}/archive", archive.stat, _FINISHES),
    ("GET", "/containers/{name}/archive", archive.download, _STREAMS),
    ("PUT", "/containers/{name}/archive", archive.upload, _STREAMS),
    ("GET", "/containers/{name}/export", archive.export, _STREAMS),
    ("POST", "/containers/{name}/exec", execs.create, _FINISHES),
    ("POST", "/exec/{id}/start", execs.start, _FINISHES),
    ("POST", "/exec/{id}/resize", execs.resize, _FINISHES),
    ("GET", "/exec/{id}/json", execs.inspect, _FINISHES),
    ("POST", "/commit", images.commit, _FINISHES),
    ("GET", "/images/json", images.listing, _FINISHES),
    ("POST", "/images/create", registries.pull, _STREAMS),
    ("POST", "/images/load", images.load, _STREAMS),
    ("GET", "/images/get", images.save, _STREAMS),
    ("POST", "/images/prune", images.prune, _FINISHES),
    ("GET", "/images/search", registries.search, _FINISHES),
    ("GET", "/images/{name:path}/json", images.inspect, _FINISHES),
    ("GET", "/images/{name:path}/signatures", signatures.listing, _FINISHES),
    ("POST", "/images/{name:path}/signatures", signatures.add, _FINISHES),
    ("GET", "/images/{name:path}/wasm", images.wasm, _STREAMS),
    ("GET", "/images/{name:path}/sbom", images.sbom, _STREAMS),
    ("GET", "/images/{name:path}/history", images.history, _FINISHES),
    ("GET", "/images/{name:path}/get", images.save, _STREAMS),
    ("POST", "/images/{name:path}/tag", images.tag, _FINISHES),
    ("POST", "/images/{name:path}/push", registries.push, _STREAMS),
    ("DELETE", "/images/{name:path}", images.remove, _FINISHES),
    ("GET", "/distribution/{name:path}/json", registries.distribution, _FINISHES),
    ("GET", "/registries/mirrors", registries.mirrors, _FINISHES),
    ("GET", "/manifests/{name:path}/json", manifests.inspect, _FINISHES),
    ("POST", "/manifests/create", manifests.create, _FINISHES),
    ("POST", "/manifests/{name:path}/annotate", manifests.annotate, _FINISHES),
    ("POST", "/manifests/{name:path}/push", manifests.push, _STREAMS),
    ("DELETE", "/manifests/{name:path}", manifests.remove, _FINISHES),
    ("POST", "/build", builds.build, _STREAMS),
    ("POST", "/build/secrets", builds.secrets, _FINISHES),
    ("GET", "/build/output", builds.output, _STREAMS),
    ("POST", "/build/prune", builds.prune, _FINISHES),
    ("POST", "/build/cancel", builds.cancel, _FINISHES),
    ("POST", "/session", builds.session, _FINISHES),
    ("GET", "/volumes", volumes.listing, _FINISHES),
    ("POST", "/volumes/create", volumes.create, _FINISHES),
    ("POST", "/volumes/prune", volumes.prune, _FINISHES),
    ("GET", "/volumes/{name}", volumes.inspect, _FINISHES),
    ("DELETE", "/volumes/{name}", volumes.remove, _FINISHES),
    ("GET", "/networks", networks.listing, _FINISHES),
    ("GET", "/networks/{name}", networks.inspect, _FINISHES),
    ("POST", "/networks/create", networks.create, _FINISHES),
    ("POST", "/networks/prune", networks.prune, _FINISHES),
    ("POST", "/networks/{name}/connect", networks.connect, _FINISHES),
    ("POST", "/networks/{name}/disconnect", networks.disconnect, _FINISHES),
    ("DELETE", "/networks/{name}", networks.remove, _FINISHES),
)


def _compile(template: str) -> re.Pattern[str]:
    pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.+)", template)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))


def _index() -> dict[tuple[str, str], list[Route]]:
    index: dict[tuple[str, str], list[Route]] = {}
    for method, template, handler, life in _TABLE:
        route = Route(_compile(template), handler, life is _STREAMS)
        index.setdefault((method, template.split("/", 2)[1]), []).append(route)
    return index


ROUTES = _index()
"""Routes by method and first part of the path, in the order in which they are tried."""
