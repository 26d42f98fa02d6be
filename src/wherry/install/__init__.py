"""Puts wherry into Docker, containerd, Kubernetes, Podman and CRI-O, takes it out, looks after it.

Everything is drafted first (`Plan`), shown if asked for, and then carried out in atomic steps with
a ledger of what was added. `doctor` looks at a machine and says what is missing.
"""

from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.plan import Options, Plan
from wherry.install.uninstall import plan_uninstall

__all__ = ["Host", "InstallError", "Options", "Plan", "plan_uninstall"]
