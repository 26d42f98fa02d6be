"""aiohttp's server, without what only its client needs.

The package itself imports its HTTP client, with TLS, cookies and DNS: more than half of the time
that wherryd takes to start. Its modules for servers do not need that, so they are imported below
an empty package; should a release of aiohttp need more of it, it is imported as usual.
"""

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, Response, StreamResponse
    from aiohttp.web import Server as HttpServer

__all__ = ["BaseRequest", "HttpServer", "Response", "StreamResponse"]

_PACKAGE = "aiohttp"


def _import_server() -> dict[str, Any]:
    request = importlib.import_module("aiohttp.web_request")
    response = importlib.import_module("aiohttp.web_response")
    server = importlib.import_module("aiohttp.web_server")
    return {
        "BaseRequest": request.BaseRequest,
        "HttpServer": server.Server,
        "Response": response.Response,
        "StreamResponse": response.StreamResponse,
    }


def _import_without_client() -> dict[str, Any]:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or _PACKAGE in sys.modules:
        return _import_server()
    package = importlib.util.module_from_spec(spec)
    # Read by its modules, for a header that this server does not send.
    package.__version__ = ""  # type: ignore[attr-defined]
    sys.modules[_PACKAGE] = package
    try:
        return _import_server()
    except (ImportError, AttributeError):
        for name in [*sys.modules]:
            if name.partition(".")[0] == _PACKAGE:
                del sys.modules[name]
        return _import_server()


if not TYPE_CHECKING:
    globals().update(_import_without_client())
