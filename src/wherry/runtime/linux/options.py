"""How a Linux container is to be run, apart from what its bundle says."""

from typing import NamedTuple


class LinuxOptions(NamedTuple):
    """What containerd's configuration says of the Linux runtime (runc.v1.Options has the same)."""

    program: str = ""
    """The runtime's name or path; empty takes runc, else crun."""
    systemd_cgroup: bool = False
    """Have systemd make the cgroups."""
    no_pivot_root: bool = False
    no_new_keyring: bool = False
    wasm_only: bool = False
    """Run no Linux program at all, whatever images and bundles ask for."""
