"""`features`, `spec`, `precompile`, `check-code` and the version: what is asked of no container."""

import os
import sys

from wherry import __version__
from wherry.runtime.command.options import Arguments, Options, UsageError
from wherry.runtime.command.record import FAILED
from wherry.runtime.exits import LaunchError

SPEC_VERSION = "1.1.0"
"""Of the OCI runtime specification."""

_SPEC = f"""\
{{
  "ociVersion": "{SPEC_VERSION}",
  "process": {{
    "args": ["/main.wasm"],
    "cwd": "/",
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "user": {{"uid": 0, "gid": 0}}
  }},
  "root": {{"path": "rootfs"}},
  "hostname": "wherry",
  "linux": {{
    "namespaces": [
      {{"type": "pid"}}, {{"type": "mount"}}, {{"type": "ipc"}}, {{"type": "uts"}},
      {{"type": "network"}}
    ]
  }}
}}
"""


def version(_options: Options) -> int:
    """`--version`: in three lines, as go-runc reads them."""
    sys.stdout.write(
        f"wherry-runtime version {__version__}\ncommit: {__version__}\nspec: {SPEC_VERSION}\n"
    )
    return 0


def spec(options: Options) -> int:
    """`spec [--bundle DIR]`: write a config.json to begin with. Raises LaunchError."""
    arguments = Arguments(options.arguments, values="bundle|b", switches="rootless")
    if arguments.rest:
        raise UsageError("spec takes no arguments")
    path = os.path.join(arguments.value("bundle", "."), "config.json")
    try:
        with open(path, "x") as file:
            file.write(_SPEC)
    except OSError as error:
        raise LaunchError(f"{path}: {error.strerror}", FAILED) from None
    return 0


def precompile(options: Options) -> int:
    """`precompile FILE...`: compile modules into the cache, so that they start at once."""
    from wherry.runtime.code import CodeCache
    from wherry.runtime.command.making import code_cache

    files = Arguments(options.arguments).rest
    if not files:
        raise UsageError("precompile takes files of modules")
    cache = CodeCache(code_cache())
    for name in files:
        try:
            with open(name, "rb") as module:
                os.close(cache.get(module.fileno(), name).descriptor)
        except OSError as error:
            raise LaunchError(f"{name}: {error.strerror}") from None
    return 0


def check_code(options: Options) -> int:
    """`check-code [--repair]`: read all compiled code; a line for what is damaged, and status 1.

    With --repair it is removed, to be made anew when it is wanted.
    """
    from wherry.runtime.code_check import damaged, remove
    from wherry.runtime.command.making import code_cache

    arguments = Arguments(options.arguments, switches="repair")
    if arguments.rest:
        raise UsageError("check-code takes no arguments")
    status = 0
    for damage in damaged(os.fspath(code_cache())):
        if "repair" in arguments:
            remove(damage)
        else:
            status = 1
        sys.stdout.write(f"{damage.path} {damage.what}\n")
        sys.stdout.flush()
    return status


def features(_options: Options) -> int:
    """`features`: what this runtime can do, as JSON (the runtime spec's features.md)."""
    import msgspec

    from wherry.runtime.sandbox.mounts import option_names

    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        "mountOptions": sorted(option_names()),
        "linux": {
            "namespaces": ["ipc", "mount", "network", "pid", "uts"],
            # A guest has none, whatever is asked for.
            "capabilities": [],
            # With --systemd-cgroup it lies where systemd would have it; systemd is not asked.
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
            # Every guest has the filter that is made for guests; a bundle's own is for programs.
            "seccomp": {"enabled": False},
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}},
        },
        "annotations": {
            "io.wherry.version": __version__,
            "run.oci.handler": "wherry",
        },
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
    return 0


COMMANDS = {
    "features": features,
    "spec": spec,
    "precompile": precompile,
    "check-code": check_code,
    "version": version,
}
