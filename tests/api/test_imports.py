"""An idle wherryd has loaded what every command needs and no more: its start is waited for."""

import subprocess
import sys

_WITH_WHAT_NEEDS_IT = (
    *("wherry.build", "wherry.registry", "wherry.sbom", "wherry.trust", "wherry.wasm.facts"),
    *("wherry.engine.artifacts", "wherry.engine.checking", "wherry.images.checking"),
    *("wherry.images.archive", "wherry.images.comparison", "wherry.images.transfer"),
    *("concurrent.futures.thread", "wherry.images.outline"),
    *("cryptography", "nacl", "cyclonedx", "aiohttp.client", "csv", "typing_extensions"),
)


def test_what_only_some_requests_need_is_not_loaded_with_wherryd() -> None:
    code = (
        "import sys; from wherry.api.daemon import _runner; _runner(); import wherry.api.routes\n"
        f"print(*(name for name in {_WITH_WHAT_NEEDS_IT!r} if name in sys.modules))\n"
        "print('wherry.engine.engine' in sys.modules)\n"
        "import typing_extensions  # Who needs it gets it."
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "True"]
