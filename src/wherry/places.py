"""Where wherry keeps things on a machine: one rule for all rooms.

WHERRY_ROOT and WHERRY_RUN come first; else root has the system's places and everybody else their
own. Cheap to import, because every command line does.
"""

import os


def data_folder() -> str:
    """Where what outlives a reboot is kept."""
    if given := os.environ.get("WHERRY_ROOT"):
        return os.path.abspath(given)
    if os.geteuid() == 0:
        return "/var/lib/wherry"
    return own_data_folder()


def own_data_folder() -> str:
    """The same for a person, or for who is root in a user namespace only."""
    return f"{os.environ.get('XDG_DATA_HOME') or os.path.expanduser('~/.local/share')}/wherry"


def config_folders() -> tuple[str, str]:
    """Where people write settings: for themselves, and for the machine."""
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{own}/wherry", "/etc/wherry"


def run_folder() -> str:
    """Where sockets and locks live. Who makes it looks whose it is."""
    if given := os.environ.get("WHERRY_RUN"):
        return os.path.abspath(given)
    if os.geteuid() == 0:
        return "/run/wherry"
    if own := os.environ.get("XDG_RUNTIME_DIR"):
        return f"{own}/wherry"
    return f"/tmp/wherry-{os.geteuid()}"  # noqa: S108 (made 0700, owner checked)
