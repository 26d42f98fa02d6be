"""nftables by netlink: transactions, sets and their elements (linux/netfilter/nf_tables.h).

Own code, because pyroute2 writes neither maps nor concatenated keys nor the expressions that are
needed here. A `Transaction` collects messages; `Netfilter.commit` has the kernel do all of them or
none. What packets are matched with is in `expressions`.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

NFPROTO_INET = 1
NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN, NF_INET_FORWARD = 0, 1, 2
NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING = 3, 4
NF_ACCEPT = 1
NFT_JUMP, NFT_RETURN = -3, -5
NFT_SET_INTERVAL, NFT_SET_MAP, NFT_SET_CONCAT = 0x4, 0x8, 0x80

_NETLINK_NETFILTER = 12
_NETLINK_EXT_ACK = 11
_SOL_NETLINK = 270
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP, _NLM_F_CREATE = 0x1, 0x4, 0x300, 0x400
_NLM_F_APPEND, _NLM_F_EXCL = 0x800, 0x200
_NFNL_MSG_BATCH_BEGIN, _NFNL_MSG_BATCH_END = 0x10, 0x11
_NFNL_SUBSYS_NFTABLES = 10

_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _DELRULE = 0, 2, 3, 6, 8
_NEWSET, _NEWSETELEM, _GETSETELEM, _DELSETELEM = 9, 12, 13, 14

_NLA_F_NESTED = 0x8000
# Attributes, NFTA_… of the header.
_OF_TABLE = 1
"""NFTA_TABLE_NAME, and of all that is in a table NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, …"""
_CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 3, 4, 5, 7
_HOOK_HOOKNUM, _HOOK_PRIORITY = 1, 2
_RULE_CHAIN, _RULE_EXPRESSIONS = 2, 4
_LIST_ELEM = 1 | _NLA_F_NESTED
_SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LEN, _SET_DATA_TYPE, _SET_DATA_LEN = range(2, 8)
_SET_DESC, _SET_ID, _SET_USERDATA = 9, 10, 13
_SET_DESC_CONCAT, _SET_FIELD_LEN = 2, 1
_ELEM_LIST_SET, _ELEM_LIST_ELEMENTS = 2, 3
_ELEM_KEY, _ELEM_DATA, _ELEM_USERDATA, _ELEM_KEY_END = 1, 2, 6, 10
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_NLA_TYPE_MASK = 0x3FFF
_BUFFER = 1 << 18
_USUAL_BATCH = 1 << 16

KEY_TYPES = {
    "ipv4_addr": (7, 4),
    "ipv6_addr": (8, 16),
    "inet_proto": (12, 1),
    "inet_service": (13, 2),
    "ifname": (41, 16),
}
"""nft(8)'s names of what keys consist of: its own number, by which it knows how to list a set, and
the length in bytes."""

_TYPE_BITS = 6
_HOST_ORDER = struct.pack("=BBI", 0, 4, 1)
"""For nft(8) only, which would list names of interfaces backwards: NFTNL_UDATA_SET_KEYBYTEORDER."""


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded."""
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits in network order, as nf_tables has nearly all of its numbers."""
    return struct.pack("HH", 8, kind) + struct.pack("!I", value & 0xFFFFFFFF)


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string."""
    return attribute(kind, value.encode() + b"\0")


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | _NLA_F_NESTED, b"".join(parts))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data`; ends at the first that is malformed."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & _NLA_TYPE_MASK, data[at + 4 : at + length]
        at += length + (-length % 4)


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The netlink messages in `data`: type, sequence number, what follows the header."""
    at = 0
    while at + 16 <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("IHHII", data, at)
        if length < 16 or at + length > len(data):
            return
        yield kind, sequence, data[at + 16 : at + length]
        at += length + (-length % 4)


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One netlink message."""
    return struct.pack("IHHII", 16 + len(payload), kind, flags, sequence, 0) + payload


def key(*fields: bytes) -> bytes:
    """A concatenated key or value: each field begins at a multiple of four bytes."""
    if len(fields) == 1:
        return fields[0]
    return b"".join(field + bytes(-len(field) % 4) for field in fields)


def ifname(name: str) -> bytes:
    """An interface's name as a key. Raises ValueError for one that is too long."""
    encoded = os.fsencode(name)
    if not 0 < len(encoded) < 16:
        raise ValueError(f"{name!r} names no interface")
    return encoded.ljust(16, b"\0")


def verdict(code: int, chain: str = "") -> bytes:
    """The data of a verdict, to go into a register or a map."""
    named = [text(_VERDICT_CHAIN, chain)] if chain else []
    return nest(_DATA_VERDICT, number(_VERDICT_CODE, code), *named)


class Element(NamedTuple):
    """What a set or a map has in it."""

    key: bytes
    end: bytes
    data: bytes
    note: bytes


class Transaction:
    """Changes to one table of family inet, in order. Nothing happens before `Netfilter.commit`."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._parts: list[tuple[int, int, bytes]] = []

    def __len__(self) -> int:
        return len(self._parts)

    def add_table(self, *, only_new: bool = False) -> None:
        """Have the table exist; with `only_new`, EEXIST if it is there."""
        self._add(_NEWTABLE, _NLM_F_CREATE | _NLM_F_EXCL * only_new, text(_OF_TABLE, self._table))

    def delete_table(self) -> None:
        """Delete the table with all that is in it. ENOENT if it is not there."""
        self._add(_DELTABLE, 0, text(_OF_TABLE, self._table))

    def add_chain(
        self, name: str, hook: tuple[str, int, int] | None = None, *, keep: bool = False
    ) -> None:
        """Have a chain exist, without rules unless they are to be kept.

        `hook` is type, number and priority of a base one.
        """
        parts = [text(_OF_TABLE, self._table), text(_CHAIN_NAME, name)]
        if hook is not None:
            kind, at, priority = hook
            hooked = number(_HOOK_HOOKNUM, at), number(_HOOK_PRIORITY, priority)
            parts += [nest(_CHAIN_HOOK, *hooked), text(_CHAIN_TYPE, kind)]
            parts.append(number(_CHAIN_POLICY, NF_ACCEPT))
        self._add(_NEWCHAIN, _NLM_F_CREATE, *parts)
        if not keep:
            self._add(_DELRULE, 0, text(_OF_TABLE, self._table), text(_RULE_CHAIN, name))

    def add_rule(self, chain: str, *expressions: bytes) -> None:
        """Append a rule."""
        listed = nest(_RULE_EXPRESSIONS, *(attribute(_LIST_ELEM, each) for each in expressions))
        flags = _NLM_F_CREATE | _NLM_F_APPEND
        of = text(_OF_TABLE, self._table), text(_RULE_CHAIN, chain)
        self._add(_NEWRULE, flags, *of, listed)

    def add_set(
        self, name: str, key_types: str, data_types: str = "", *, ranges: bool = False
    ) -> None:
        """Have a set exist, or a map with `data_types`; types as in nft(8): "ifname . ifname".

        With `ranges`, of which the key must have several fields, elements have an `end`. EEXIST if
        there is another one of that name.
        """
        type_, length, lengths = _types(key_types)
        flags, data = NFT_SET_INTERVAL if ranges else 0, []
        if data_types:
            data_type, data_length, _ = _types(data_types)
            flags |= NFT_SET_MAP
            data = [number(_SET_DATA_TYPE, data_type), number(_SET_DATA_LEN, data_length)]
        description = []
        if key_types == "ifname":
            description = [attribute(_SET_USERDATA, _HOST_ORDER)]
        elif len(lengths) > 1:
            flags |= NFT_SET_CONCAT
            fields = (attribute(_LIST_ELEM, number(_SET_FIELD_LEN, each)) for each in lengths)
            description = [nest(_SET_DESC, nest(_SET_DESC_CONCAT, *fields))]
        self._add(
            _NEWSET, _NLM_F_CREATE, text(_OF_TABLE, self._table), text(_SET_NAME, name),
            number(_SET_FLAGS, flags), number(_SET_KEY_TYPE, type_), number(_SET_KEY_LEN, length),
            *data, *description, number(_SET_ID, len(self._parts)),
        )  # fmt: skip

    def add_element(
        self,
        name: str,
        key: bytes,
        data: bytes = b"",
        *,
        end: bytes = b"",
        note: bytes = b"",
        only_new: bool = False,
    ) -> None:
        """Have an element be in a set; `note` is for who dumps it, up to 256 bytes.

        With `only_new`, and for other data than it has, EEXIST if it is there.
        """
        parts = [nest(_ELEM_KEY, attribute(_DATA_VALUE, key))]
        if end:
            parts.append(nest(_ELEM_KEY_END, attribute(_DATA_VALUE, end)))
        if data:
            parts.append(nest(_ELEM_DATA, attribute(_DATA_VALUE, data)))
        if note:
            parts.append(attribute(_ELEM_USERDATA, note))
        flags = _NLM_F_CREATE | _NLM_F_EXCL * only_new
        self._element(_NEWSETELEM, flags, name, parts)

    def delete_element(self, name: str, key: bytes, *, end: bytes = b"") -> None:
        """Take an element out. ENOENT if it is not there."""
        parts = [nest(_ELEM_KEY, attribute(_DATA_VALUE, key))]
        if end:
            parts.append(nest(_ELEM_KEY_END, attribute(_DATA_VALUE, end)))
        self._element(_DELSETELEM, 0, name, parts)

    def discard_element(self, name: str, key: bytes) -> None:
        """Have an element not be in a set (of keys only)."""
        self.add_element(name, key)
        self.delete_element(name, key)

    def encode(self, sequence: int) -> tuple[bytes, int]:
        """The batch for the kernel, and the number of its last message, which is acknowledged."""
        batch = struct.pack("!BBH", socket.AF_UNSPEC, 0, _NFNL_SUBSYS_NFTABLES)
        encoded = [message(_NFNL_MSG_BATCH_BEGIN, _NLM_F_REQUEST, sequence, batch)]
        for kind, flags, payload in self._parts:
            sequence += 1
            last = _NLM_F_ACK if len(encoded) == len(self._parts) else 0
            encoded.append(
                message(
                    _NFNL_SUBSYS_NFTABLES << 8 | kind, _NLM_F_REQUEST | flags | last,
                    sequence, _HEADER + payload,
                )
            )  # fmt: skip
        encoded.append(message(_NFNL_MSG_BATCH_END, _NLM_F_REQUEST, sequence + 1, batch))
        return b"".join(encoded), sequence

    def _element(self, kind: int, flags: int, name: str, parts: list[bytes]) -> None:
        element = attribute(1 | _NLA_F_NESTED, b"".join(parts))
        of = text(_OF_TABLE, self._table), text(_ELEM_LIST_SET, name)
        self._add(kind, flags, *of, nest(_ELEM_LIST_ELEMENTS, element))

    def _add(self, kind: int, flags: int, *parts: bytes) -> None:
        self._parts.append((kind, flags, b"".join(parts)))


class Netfilter:
    """A connection to nf_tables of the network namespace that the calling thread is in."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 1

    def close(self) -> None:
        """What was committed stays."""
        self._socket.close()

    def commit(self, transaction: Transaction) -> None:
        """Do all that is in `transaction`, or none of it. Raises OSError."""
        if not len(transaction):
            return
        first = self._sequence
        batch, last = transaction.encode(first)
        self._sequence = last + 2
        # All has to be in one message.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(batch) + _USUAL_BATCH)
        self._socket.send(batch)
        failed = 0
        while True:
            for kind, sequence, payload in messages(self._socket.recv(_BUFFER)):
                if kind != _NLMSG_ERROR or not first <= sequence <= last:
                    continue
                (code,) = struct.unpack_from("i", payload)
                failed = failed or -code
                # An error of the beginning is one of the whole.
                if sequence == last or (sequence == first and failed):
                    if failed:
                        raise OSError(failed, f"nftables: {os.strerror(failed)}")
                    return

    def elements(self, table: str, name: str) -> Iterator[Element]:
        """The elements of a set or map. None if there is no such set. Raises OSError."""
        wanted = text(_OF_TABLE, table) + text(_ELEM_LIST_SET, name)
        for answer in self._dump(_GETSETELEM, NFPROTO_INET, wanted):
            for kind, listed in attributes(answer):
                if kind == _ELEM_LIST_ELEMENTS:
                    for _, element in attributes(listed):
                        yield _element(dict(attributes(element)))

    def _dump(self, kind: int, family: int, payload: bytes) -> list[bytes]:
        """The answers to a question, each without its header."""
        self._sequence += 1
        mine = self._sequence
        self._sequence += 1
        header = struct.pack("!BBH", family, 0, 0)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        self._socket.send(message(_NFNL_SUBSYS_NFTABLES << 8 | kind, flags, mine, header + payload))
        found: list[bytes] = []
        while True:
            for type_, sequence, answer in messages(self._socket.recv(_BUFFER)):
                if sequence != mine:
                    continue
                if type_ in (_NLMSG_DONE, _NLMSG_ERROR):
                    (code,) = struct.unpack_from("i", answer)
                    if code and -code != errno.ENOENT:
                        raise OSError(-code, f"nftables: {os.strerror(-code)}")
                    return found
                found.append(answer[4:])


_HEADER = struct.pack("!BBH", NFPROTO_INET, 0, 0)


def _types(names: str) -> tuple[int, int, list[int]]:
    """nft's number of a type, its length in bytes, and the lengths of its parts."""
    parts = [KEY_TYPES[name] for name in names.split(" . ")]
    if len(parts) == 1:
        return parts[0][0], parts[0][1], [parts[0][1]]
    type_ = 0
    for each, _ in parts:
        type_ = type_ << _TYPE_BITS | each
    lengths = [length for _, length in parts]
    return type_, sum(length + (-length % 4) for length in lengths), lengths


def _element(parts: dict[int, bytes]) -> Element:
    key, end, data = (
        dict(attributes(parts.get(kind, b""))).get(_DATA_VALUE, b"")
        for kind in (_ELEM_KEY, _ELEM_KEY_END, _ELEM_DATA)
    )
    return Element(key, end, data, parts.get(_ELEM_USERDATA, b""))
