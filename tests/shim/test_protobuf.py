"""Our protobuf codec, held to google.protobuf."""

from typing import Any

import pytest
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from wherry.shim import messages, metrics, protobuf
from wherry.shim.protobuf import InvalidMessage, Message, sint, uint64s
from wherry.shim.ttrpc import connection

_Type = descriptor_pb2.FieldDescriptorProto
_SCALARS: dict[Any, tuple[int, st.SearchStrategy[Any]]] = {
    protobuf._decode_text: (_Type.TYPE_STRING, st.text()),
    bytes: (_Type.TYPE_BYTES, st.binary()),
    protobuf._to_uint32: (_Type.TYPE_UINT32, st.integers(0, 2**32 - 1)),
    int: (_Type.TYPE_UINT64, st.integers(0, 2**64 - 1)),
    protobuf._to_signed: (_Type.TYPE_INT64, st.integers(-(2**63), 2**63 - 1)),
    bool: (_Type.TYPE_BOOL, st.booleans()),
    protobuf._decode_packed: (_Type.TYPE_UINT64, st.integers(0, 2**64 - 1)),
}
_MOMENTS = st.integers(-62135596800 * 10**9, 253402300799 * 10**9)


class Numbers(Message):
    """Kinds of fields that none of containerd's messages of ours has."""

    signed: int = sint(1)
    packed: Any = uint64s(3)


KINDS = [
    Numbers,
    messages.CreateTaskRequest,
    messages.StateResponse,
    messages.PidsResponse,
    messages.UpdateTaskRequest,
    messages.TaskCreate,
    messages.ForwardRequest,
    messages.RuntimeInfo,
    metrics.MetricsV1,
    metrics.MetricsV2,
    connection._Request,
    connection._Response,
]


def google_kind(kind: type[Message]) -> Any:
    """The same message, made by google.protobuf from the fields that ours declares."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{kind.__name__}.proto", syntax="proto3")
    done: set[str] = set()

    def declare(kind: type[Message]) -> str:
        if kind.__name__ in done:
            return f".{kind.__name__}"
        done.add(kind.__name__)
        described = descriptor_pb2.DescriptorProto(name=kind.__name__)
        for field in kind._fields:
            into = described.field.add(name=field.name, number=field.number)
            repeated = field.repeated or field.decode is protobuf._decode_packed
            into.label = _Type.LABEL_REPEATED if repeated else _Type.LABEL_OPTIONAL
            if field.decode is protobuf._decode_timestamp:
                into.type, into.type_name = _Type.TYPE_MESSAGE, declare(protobuf._Timestamp)
            elif field.message is protobuf._Entry:
                entry = described.nested_type.add(name=f"{field.name.capitalize()}Entry")
                entry.options.map_entry = True
                for number, name in ((1, "key"), (2, "value")):
                    part = entry.field.add(name=name, number=number, type=_Type.TYPE_STRING)
                    part.label = _Type.LABEL_OPTIONAL
                into.type, into.label = _Type.TYPE_MESSAGE, _Type.LABEL_REPEATED
                into.type_name = f".{kind.__name__}.{entry.name}"
            elif inner := message_of(field):
                into.type, into.type_name = _Type.TYPE_MESSAGE, declare(inner)
            else:
                into.type = _SCALARS[field.decode][0]
        file.message_type.append(described)
        return f".{kind.__name__}"

    declare(kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.__name__))


def message_of(field: protobuf._Field) -> type[Message] | None:
    """The class of an embedded message: what its bound `decode` belongs to."""
    owner = getattr(field.decode, "__self__", None)
    return owner if isinstance(owner, type) and issubclass(owner, Message) else None


def instances(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Messages of a kind, each field absent or with any value."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in kind._fields:
        inner = message_of(field)
        if field.decode is protobuf._decode_timestamp:
            fields[field.name] = _MOMENTS
        elif field.message is protobuf._Entry:
            fields[field.name] = st.dictionaries(st.text(), st.text(), max_size=3)
        else:
            value = instances(inner) if inner else _SCALARS[field.decode][1]
            repeated = field.repeated or field.decode is protobuf._decode_packed
            fields[field.name] = st.lists(value, max_size=3) if repeated else value
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: kind(**values))


def as_google_has_it(kind: type[Message], data: bytes) -> bytes:
    """What google.protobuf reads from `data`, in our order of a map's keys."""
    theirs = GOOGLE[kind].FromString(data)
    theirs.DiscardUnknownFields()
    return normal(kind.decode(theirs.SerializeToString()))


def normal(message: Message) -> bytes:
    """Bytes that are equal for equal messages, whether a default was given or left out."""
    return type(message).decode(message.encode()).encode()


GOOGLE = {kind: google_kind(kind) for kind in KINDS}


@given(message=st.sampled_from(KINDS).flatmap(instances))
def test_google_reads_what_we_write_and_we_what_google_writes(message: Message) -> None:
    assert as_google_has_it(type(message), message.encode()) == normal(message)


@given(kind=st.sampled_from(KINDS), data=st.binary())
def test_any_bytes_are_read_as_google_reads_them_or_refused(
    kind: type[Message], data: bytes
) -> None:
    try:
        ours = kind.decode(data)
    except InvalidMessage as error:
        if "wire type" not in str(error):  # groups, which google.protobuf still skips
            with pytest.raises(DecodeError):
                GOOGLE[kind].FromString(data)
        return
    assert as_google_has_it(kind, data) == normal(ours)


@given(first=instances(messages.ForwardRequest), second=instances(messages.ForwardRequest))
def test_an_embedded_message_in_two_parts_is_merged(first: Message, second: Message) -> None:
    both = first.encode() + second.encode()
    ours = messages.ForwardRequest.decode(both)
    assert as_google_has_it(messages.ForwardRequest, both) == normal(ours)


def test_unknown_fields_are_skipped() -> None:
    newer = messages.StateResponse(id="a", exec_id="b", pid=3).encode()
    assert messages.TaskRequest.decode(newer) == messages.TaskRequest(id="a")


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05abc", b"\x80", b"\x08" + b"\xff" * 11, b"\x0a\x01\xff", b"\x00\x00"]
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        messages.StateResponse.decode(data)


def test_a_field_that_does_not_exist_cannot_be_given() -> None:
    with pytest.raises(AssertionError, match="no such field"):
        messages.Mount(sorce="typo")
