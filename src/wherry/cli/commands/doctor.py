"""`doctor`: what is installed, what is missing, what to type."""

from __future__ import annotations

from wherry.cli.command import Command
from wherry.cli.errors import CommandError
from wherry.cli.flags import text
from wherry.cli.printable import printable
from wherry.client.json import encode
from wherry.install.doctor import Finding, examine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _doctor(session: Session, arguments: Arguments) -> int:
    layout = arguments.text("format")
    if layout not in ("", "table", "json"):
        raise CommandError(f"--format {layout}: say table or json")
    findings = examine()
    if layout == "json":
        session.write_line(encode([_as_json(finding) for finding in findings]))
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            hint = f": {finding.hint}" if finding.hint else ""
            line = f"{finding.status:<8} {finding.subject:<{width}}  {finding.text}{hint}"
            session.write_line(printable(line))
    return 1 if any(finding.status == "missing" for finding in findings) else 0


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "subject": finding.subject,
        "status": finding.status,
        "text": finding.text,
        "hint": finding.hint,
    }


DOCTOR = Command(
    _doctor,
    "Look at this machine: what is installed, what is missing, what to type",
    "",
    (
        text("format", "", "table, or json for programs", metavar="FORMAT",
             complete=("table", "json")),
    ),
    detail=(
        "Looks at wherry, the kernel, Docker, containerd, Kubernetes, Podman and CRI-O. Changes\n"
        "nothing, and needs no root, though root sees more. Exits with 1 when something is missing."
    ),
)  # fmt: skip
