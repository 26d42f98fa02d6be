"""Where each command lives. Only the file of the command that was typed is imported."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.command import Command

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Build and run", ("build", "run", "ps", "logs", "stop", "rm")),
    (
        "Containers",
        (
            "create",
            "start",
            "restart",
            "kill",
            "wait",
            "pause",
            "unpause",
            "attach",
            "exec",
            "inspect",
            "port",
            "top",
            "stats",
            "cp",
            "rename",
            "container",
        ),
    ),
    ("Images", ("images", "history", "tag", "rmi", "save", "load", "sbom", "image")),
    ("Registries", ("pull", "push", "login", "logout", "search", "manifest")),
    ("Trust", ("sign", "verify", "generate-key-pair")),
    ("Networks and volumes", ("network", "volume")),
    (
        "Engine",
        (
            "info",
            "version",
            "events",
            "system",
            "install",
            "uninstall",
            "doctor",
            "completion",
        ),
    ),
)
"""The commands as the help shows them."""

FAMILIES = {
    "container": "List, prune and otherwise manage containers",
    "image": "List, prune and otherwise manage images",
    "manifest": "Put images for several platforms under one name",
    "network": "Let containers find each other, and keep them apart",
    "volume": "Keep data longer than a container lives",
    "system": "See and free what the engine keeps on disk",
    "install": "Put wherry into Docker, containerd, Kubernetes, Podman or CRI-O",
    "uninstall": "Take wherry out of them again",
}
"""Groups of commands that are a word of their own."""

_CONTAINER = {
    "attach": "attach:ATTACH",
    "cp": "cp:CP",
    "create": "run:CREATE",
    "exec": "exec:EXEC",
    "inspect": "inspect:CONTAINER",
    "kill": "lifecycle:KILL",
    "logs": "logs:LOGS",
    "pause": "lifecycle:PAUSE",
    "port": "port:PORT",
    "rename": "lifecycle:RENAME",
    "restart": "lifecycle:RESTART",
    "rm": "lifecycle:RM",
    "run": "run:RUN",
    "start": "attach:START",
    "stats": "stats:STATS",
    "stop": "lifecycle:STOP",
    "top": "top:TOP",
    "unpause": "lifecycle:UNPAUSE",
    "wait": "lifecycle:WAIT",
}
_IMAGE = {
    "build": "build:BUILD",
    "history": "images:HISTORY",
    "load": "archives:LOAD",
    "pull": "pull:PULL",
    "push": "pull:PUSH",
    "save": "archives:SAVE",
    "sbom": "sbom:SBOM",
    "tag": "images:TAG",
}
_TARGETS = {"docker": "DOCKER", "containerd": "CONTAINERD", "podman": "PODMAN", "cri-o": "CRIO"}
_SYSTEM = {"events": "events:EVENTS", "info": "system:INFO"}

COMMANDS: dict[str, str] = {
    **_CONTAINER,
    **_IMAGE,
    **_SYSTEM,
    "images": "images:IMAGES",
    "inspect": "inspect:INSPECT",
    "login": "login:LOGIN",
    "logout": "login:LOGOUT",
    "ps": "ps:PS",
    "rmi": "images:RMI",
    "generate-key-pair": "generate_key_pair:GENERATE_KEY_PAIR",
    "search": "search:SEARCH",
    "sign": "sign:SIGN",
    "verify": "verify:VERIFY",
    "version": "system:VERSION",
    "completion": "completion:COMPLETION",
    "__complete": "completion:COMPLETE",
    "doctor": "doctor:DOCTOR",
    **{f"install {name}": f"install:{table}" for name, table in _TARGETS.items()},
    **{f"uninstall {name}": f"install:UN{table}" for name, table in _TARGETS.items()},
    "install kubernetes": "kubernetes:KUBERNETES",
    "uninstall kubernetes": "kubernetes:UNKUBERNETES",
    "uninstall all": "install:UNALL",
    **{f"container {name}": place for name, place in _CONTAINER.items()},
    "container list": "ps:PS",
    "container ls": "ps:PS",
    "container prune": "prune:CONTAINERS",
    "container ps": "ps:PS",
    "container remove": "lifecycle:RM",
    **{f"image {name}": place for name, place in _IMAGE.items()},
    "image inspect": "inspect:IMAGE",
    "image list": "images:IMAGES",
    "image ls": "images:IMAGES",
    "image prune": "prune:IMAGES",
    "image remove": "images:RMI",
    "image rm": "images:RMI",
    "builder build": "build:BUILD",
    "builder prune": "prune:BUILDS",
    "manifest annotate": "manifest:ANNOTATE",
    "manifest create": "manifest:CREATE",
    "manifest inspect": "manifest:INSPECT",
    "manifest push": "manifest:PUSH",
    "manifest rm": "manifest:RM",
    "network connect": "network:CONNECT",
    "network create": "network:CREATE",
    "network disconnect": "network:DISCONNECT",
    "network inspect": "inspect:NETWORK",
    "network list": "network:LS",
    "network ls": "network:LS",
    "network prune": "prune:NETWORKS",
    "network remove": "network:RM",
    "network rm": "network:RM",
    "volume create": "volume:CREATE",
    "volume inspect": "inspect:VOLUME",
    "volume list": "volume:LS",
    "volume ls": "volume:LS",
    "volume prune": "prune:VOLUMES",
    "volume remove": "volume:RM",
    "volume rm": "volume:RM",
    **{f"system {name}": place for name, place in _SYSTEM.items()},
    "system check": "check:CHECK",
    "system df": "system:DF",
    "system prune": "prune:SYSTEM",
}
"""Every name a command has, and its file and table in `commands/`."""


def load(name: str) -> Command:
    """The command of that exact name (its words separated by one space)."""
    module, _, table = COMMANDS[name].partition(":")
    path = f"wherry.cli.commands.{module}"
    __import__(path)
    command: Command = getattr(sys.modules[path], table)
    return command


def find(words: list[str]) -> tuple[str, Command | None, list[str]]:
    """The name as typed, its command (None for a family or an unknown word), the words behind."""
    double = " ".join(words[:2])
    if double in COMMANDS:
        return double, load(double), words[2:]
    name = words[0]
    if name in COMMANDS:
        return name, load(name), words[1:]
    return (name, None, words[1:]) if is_family(name) else ("", None, words)


def is_family(name: str) -> bool:
    """Whether commands stand behind this word (`container`, `image`, …)."""
    return any(known.startswith(f"{name} ") for known in COMMANDS)
