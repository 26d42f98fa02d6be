"""aiohttp's server is imported alone, or as usual where that is not possible."""

import subprocess
import sys


def _python(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_server_comes_without_the_client() -> None:
    assert (
        _python(
            "import sys\n"
            "from wherry.api.http import BaseRequest, HttpServer, Response, StreamResponse\n"
            "print('aiohttp.client' in sys.modules, 'wherry.build' in sys.modules)"
        )
        == "False False"
    )


def test_the_client_can_still_be_had_afterwards() -> None:
    assert (
        _python(
            "import wherry.api.http\n"
            "from aiohttp.client import ClientSession\n"
            "print(ClientSession.__name__)"
        )
        == "ClientSession"
    )


def test_an_aiohttp_that_is_there_already_is_used() -> None:
    assert (
        _python(
            "import aiohttp.web\n"
            "from wherry.api.http import HttpServer\n"
            "print(HttpServer is aiohttp.web.Server)"
        )
        == "True"
    )


def test_an_aiohttp_that_needs_its_package_is_imported_whole() -> None:
    # A module that reads from the package what only the package's own code puts there.
    assert (
        _python(
            "import importlib, sys\n"
            "real = importlib.import_module\n"
            "def changed(name):\n"
            "    if name == 'aiohttp.web_server':\n"
            "        from aiohttp import ClientSession\n"
            "    return real(name)\n"
            "importlib.import_module = changed\n"
            "from wherry.api.http import HttpServer\n"
            "import aiohttp\n"
            "print(HttpServer.__name__, aiohttp.ClientSession.__name__)"
        )
        == "Server ClientSession"
    )
