"""Published ports, carried to containers by this process: where the kernel does not do it.

That is for the host's loopback addresses and without root; and only for containers that have not
got the listening sockets themselves.
"""
