"""Copying in and out of a container's filesystem."""

import msgspec


class PathStat(msgspec.Struct, kw_only=True, rename="camel"):
    """Docker's X-Docker-Container-Path-Stat. `mode` is Go's os.FileMode; `size` is in bytes."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str
