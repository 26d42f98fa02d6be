"""`install kubernetes`: the files for a cluster, which the person applies."""

from __future__ import annotations

import os

from wherry.cli.command import Command
from wherry.cli.errors import CommandError
from wherry.cli.flags import switch, text
from wherry.install import InstallError
from wherry.install.draft import FileChange
from wherry.install.kubernetes import NAMESPACE, manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_GONE = (
    "kubectl delete -f wherry.yaml takes wherry off all nodes again; "
    "'wherry uninstall containerd' off this one"
)


def _install(session: Session, arguments: Arguments) -> int:
    try:
        files = manifests(
            image=arguments.text("image"),
            example=arguments.text("example"),
            namespace=arguments.text("namespace"),
        )
    except InstallError as error:
        raise CommandError(str(error)) from None
    folder = arguments.text("output")
    changes = [_change(f"{folder}/{name}", content) for name, content in files.items()]
    if arguments.switch("dry-run"):
        session.write("".join(change.show() for change in changes))
        session.write_line("nothing has been changed")
        return 0
    for change in changes:
        if change.before not in (None, change.after) and not arguments.switch("force"):
            raise CommandError(f"{change.path}: is there already and differs; say --force")
    os.makedirs(folder, exist_ok=True)
    for change in changes:
        with open(change.path, "wb") as file:
            file.write(change.after or b"")
        session.write_line(f"wrote {change.path}")
    image = arguments.text("image")
    session.write_line(f"then: docker build -t {image} {folder} && docker push {image}")
    session.write_line(f"then: kubectl apply -f {folder}/wherry.yaml")
    session.write_line(f"then: kubectl apply -f {folder}/example.yaml")
    return 0


def _change(path: str, content: str) -> FileChange:
    try:
        with open(path, "rb") as file:
            before = file.read()
    except FileNotFoundError:
        return FileChange(path, None, content.encode(), 0o644)
    return FileChange(path, before, content.encode(), 0o644)


def _uninstall(session: Session, arguments: Arguments) -> int:
    session.write_line(_GONE)
    return 0


KUBERNETES = Command(
    _install,
    "Write the files that put wherry into a Kubernetes cluster",
    flags=(
        text("output", "o", "Folder for the files", metavar="DIR", default="wherry-kubernetes",
             complete="directory"),
        text("image", "", "Name for the image of the DaemonSet", metavar="IMAGE",
             default="registry.example/wherry-node:latest"),
        text("example", "", "Wasm image of the example Deployment", metavar="IMAGE",
             default="registry.example/hello-wasm:latest"),
        text("namespace", "", "Namespace of the DaemonSet", metavar="NAME", default=NAMESPACE),
        switch("dry-run", "", "Show the files, write none"),
        switch("force", "", "Overwrite files that differ"),
    ),
    detail="A RuntimeClass, a DaemonSet with the Dockerfile of its image, an example Deployment.",
    examples=("wherry install kubernetes --image registry.example/wherry-node:1",),
)  # fmt: skip
UNKUBERNETES = Command(_uninstall, "Say how wherry is taken out of a Kubernetes cluster")
