"""What the compiler finds out about a module that decides how it is run."""

import msgspec


class Facts(msgspec.Struct, frozen=True):
    """Known once a module is compiled, and kept with its code."""

    component: bool
    sockets: bool
    """Whether it imports sockets."""
    reads_pwd: bool
    """Whether its language takes the working directory from PWD."""
