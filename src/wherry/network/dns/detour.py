"""How 127.0.0.11 port 53 leads to the name server: by a rule, as in Docker.

A socket that was bound there would keep the container from serving port 53 itself. So the name
server has any port of the loopback, and the container's own network sends queries on to it.
"""

import errno
import socket
from contextlib import closing
from ipaddress import ip_network

from wherry.network import expressions as nft
from wherry.network.dns.server import ADDRESS, PORT, Pair, sockets
from wherry.network.netfilter import NF_INET_LOCAL_OUT, Netfilter, Transaction

_TABLE = "wherry-names"
_DSTNAT = -100
_UNSUPPORTED = (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)


def detoured_sockets() -> Pair:
    """The sockets of a name server for the network that the calling thread is in. Raises OSError.

    Where the kernel cannot send queries on, they are bound at the place itself.
    """
    pair = sockets("127.0.0.1", 0)
    try:
        _lead_to(pair)
    except OSError as error:
        for each in pair:
            each.close()
        if error.errno not in _UNSUPPORTED:
            raise
        return sockets(ADDRESS, PORT)
    return pair


def _lead_to(pair: Pair) -> None:
    with closing(Netfilter()) as netfilter:
        try:
            netfilter.commit(_change(pair, replace=False))
        except FileExistsError:  # of a helper that was killed
            netfilter.commit(_change(pair, replace=True))


def _change(pair: Pair, *, replace: bool) -> Transaction:
    """The table, new or instead of another one.

    Only if need be: whoever has deleted a table waits for the kernel's readers (RCU) when the
    connection is closed, 5 ms and more.
    """
    change = Transaction(_TABLE)
    if replace:
        change.add_table()
        change.delete_table()
    change.add_table(only_new=True)
    change.add_chain("output", ("nat", NF_INET_LOCAL_OUT, _DSTNAT))
    for protocol, each in zip((socket.IPPROTO_UDP, socket.IPPROTO_TCP), pair, strict=True):
        match = [*nft.destination(ip_network(ADDRESS)), *nft.protocol(protocol)]
        port = each.getsockname()[1]
        change.add_rule("output", *match, *nft.ports(PORT, PORT), *nft.redirect(port))
    return change
