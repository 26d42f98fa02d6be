"""Protocol Buffers (proto3), as much as containerd's messages use, in one small module.

A message is a class of annotated fields:

    class ProcessInfo(Message):
        pid: int = uint(1)
        info: Any | None = embedded(2, Any)

An absent field reads as its default, an unknown one is skipped. Bytes in are hostile: whatever is
not a well-formed message raises InvalidMessage. (google.protobuf costs 18 ms and 7 MB to import;
the tests hold this module to its results.)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any as _Anything
from typing import ClassVar, NamedTuple, Self, TypeVar, cast

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1
_NANOSECONDS = 1_000_000_000

T = TypeVar("T")
M = TypeVar("M", bound="Message")


class InvalidMessage(ValueError):
    """The bytes are not the protobuf message they were said to be."""


class _Field(NamedTuple):
    """How one field is encoded: `encode` makes its value without the tag, `decode` reads it."""

    name: str
    number: int
    wire: int
    tag: bytes
    default: object
    encode: Callable[[_Anything], bytes]
    decode: Callable[[_Anything], object]
    repeated: bool
    message: "type[Message] | None"


def _declare(
    number: int,
    wire: int,
    default: T,
    encode: Callable[[_Anything], bytes],
    decode: Callable[[_Anything], object],
    *,
    repeated: bool = False,
    message: "type[Message] | None" = None,
) -> T:
    """A field, typed as its value: the class that it is declared in puts its default there."""
    tag = encode_varint(number << 3 | wire)
    field = _Field("", number, wire, tag, default, encode, decode, repeated, message)
    return cast(T, field)


def string(number: int) -> str:
    """UTF-8 text."""
    return _declare(number, _BYTES, "", _encode_text, _decode_text)


def data(number: int) -> bytes:
    """Bytes as they are."""
    return _declare(number, _BYTES, b"", _encode_data, bytes)


def uint(number: int) -> int:
    """A uint32."""
    return _declare(number, _VARINT, 0, encode_varint, _to_uint32)


def uint64(number: int) -> int:
    """A uint64."""
    return _declare(number, _VARINT, 0, encode_varint, int)


def sint(number: int) -> int:
    """An int32, an int64 or an enum."""
    return _declare(number, _VARINT, 0, _encode_signed, _to_signed)


def boolean(number: int) -> bool:
    """A bool."""
    return _declare(number, _VARINT, False, encode_varint, bool)


def timestamp(number: int) -> int:
    """A google.protobuf.Timestamp, read as nanoseconds since the epoch; 0 when absent."""
    return _declare(number, _BYTES, 0, _encode_timestamp, _decode_timestamp, message=_Timestamp)


def strings(number: int) -> Sequence[str]:
    """Repeated text."""
    return _declare(number, _BYTES, (), _encode_text, _decode_text, repeated=True)


def uint64s(number: int) -> Sequence[int]:
    """Repeated uint64, packed."""
    return _declare(number, _BYTES, (), _encode_packed, _decode_packed)


def embedded(number: int, kind: type[M]) -> M | None:
    """A message; None when absent."""
    absent: M | None = None
    return _declare(number, _BYTES, absent, _encode_message, kind.decode, message=kind)


def messages(number: int, kind: type[M]) -> Sequence[M]:
    """Repeated messages."""
    return _declare(number, _BYTES, (), _encode_message, kind.decode, repeated=True)


def text_map(number: int) -> Mapping[str, str]:
    """A map<string, string>."""
    return _declare(number, _BYTES, {}, _encode_text, _decode_text, message=_Entry)


class Message:
    """A message; subclasses declare its fields."""

    _fields: ClassVar[tuple[_Field, ...]] = ()
    _by_number: ClassVar[dict[int, _Field]] = {}

    def __init_subclass__(cls) -> None:
        fields = [(name, value) for name, value in vars(cls).items() if isinstance(value, _Field)]
        for name, field in fields:
            setattr(cls, name, field.default)
        named = [field._replace(name=name) for name, field in fields]
        cls._fields = tuple(sorted(named, key=lambda field: field.number))
        cls._by_number = {field.number: field for field in cls._fields}

    def __init__(self, **values: object) -> None:
        assert values.keys() <= vars(type(self)).keys(), f"no such field: {values}"
        self.__dict__.update(values)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, field.name) == getattr(other, field.name) for field in self._fields
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = (f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({', '.join(values)})"

    def encode(self) -> bytes:
        """The message as bytes, fields in the order of their numbers."""
        parts: list[bytes] = []
        values = self.__dict__
        for field in self._fields:
            value = values.get(field.name)
            if value is None or value == field.default or (not value and field.message is None):
                continue
            if field.repeated:
                for item in value:
                    _put(parts, field, field.encode(item))
            elif field.message is _Entry:
                for key in sorted(value):
                    _put(parts, field, _encode_entry(key, value[key]))
            else:
                _put(parts, field, field.encode(value))
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a message. Raises InvalidMessage."""
        message = cls()
        values = message.__dict__
        fields = cls._by_number
        parts: dict[str, bytes] = {}
        offset, end = 0, len(data)
        while offset < end:
            tag, offset = decode_varint(data, offset)
            wire = tag & 7
            if not 0 < tag >> 3 < 1 << 29:
                raise InvalidMessage(f"field number {tag >> 3} in {cls.__name__}")
            raw: int | bytes
            if wire == _VARINT:
                raw, offset = decode_varint(data, offset)
            else:
                if wire == _BYTES:
                    size, offset = decode_varint(data, offset)
                elif wire == _FIXED64:
                    size = 8
                elif wire == _FIXED32:
                    size = 4
                else:
                    raise InvalidMessage(f"wire type {wire} in {cls.__name__}")
                start, offset = offset, offset + size
                if offset > end:
                    raise InvalidMessage(f"{cls.__name__} ends within a field")
                raw = data[start:offset]
            field = fields.get(tag >> 3)
            if field is None:
                continue
            name = field.name
            if field.wire != wire:
                if field.decode is _decode_packed and isinstance(raw, int):
                    values[name] = [*values.get(name, ()), raw]
                continue
            if field.repeated:
                values.setdefault(name, []).append(field.decode(raw))
            elif field.message is None:
                value = field.decode(raw)
                values[name] = [*values.get(name, ()), *value] if isinstance(value, list) else value
            elif field.message is _Entry:
                entry = _Entry.decode(data[start:offset])
                values.setdefault(name, {})[entry.key] = entry.value
            else:
                # A message may come in parts; they read like one after the other.
                parts[name] = parts.get(name, b"") + data[start:offset]
                values[name] = field.decode(parts[name])
        return message


def encode_varint(value: int) -> bytes:
    """A varint of `value`, which must not be negative."""
    if value < 0x80:
        return _SMALL[value]
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_SMALL = [bytes((value,)) for value in range(0x80)]


def decode_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The varint at `offset`, cut to 64 bits, and the offset after it. Raises InvalidMessage."""
    try:
        byte = data[offset]
        if byte < 0x80:
            return byte, offset + 1
        value = byte & 0x7F
        for shift in range(7, 70, 7):
            offset += 1
            byte = data[offset]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK64, offset + 1
    except IndexError:
        raise InvalidMessage("the message ends within a number") from None
    raise InvalidMessage("a number of more than ten bytes")


def _put(parts: list[bytes], field: _Field, value: bytes) -> None:
    parts.append(field.tag)
    if field.wire == _BYTES:
        parts.append(encode_varint(len(value)))
    parts.append(value)


def _encode_message(message: Message) -> bytes:
    return message.encode()


def _encode_entry(key: str, value: str) -> bytes:
    # Unlike other fields, both are written even when they are empty.
    parts: list[bytes] = []
    for field, text in zip(_Entry._fields, (key, value), strict=True):
        _put(parts, field, _encode_text(text))
    return b"".join(parts)


def _encode_data(value: bytes) -> bytes:
    return value


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode_text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidMessage("text that is not UTF-8") from None


def _to_uint32(value: int) -> int:
    return value & _MASK32


def _encode_signed(value: int) -> bytes:
    return encode_varint(value & _MASK64)


def _to_signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _encode_timestamp(at: int) -> bytes:
    seconds, nanos = divmod(at, _NANOSECONDS)
    return _Timestamp(seconds=seconds, nanos=nanos).encode()


def _decode_timestamp(raw: bytes) -> int:
    moment = _Timestamp.decode(raw)
    return moment.seconds * _NANOSECONDS + moment.nanos


def _encode_packed(values: Sequence[int]) -> bytes:
    return b"".join(map(encode_varint, values))


def _decode_packed(raw: bytes) -> list[int]:
    values = []
    offset = 0
    while offset < len(raw):
        value, offset = decode_varint(raw, offset)
        values.append(value)
    return values


class _Entry(Message):
    key: str = string(1)
    value: str = string(2)


class _Timestamp(Message):
    seconds: int = sint(1)
    nanos: int = sint(2)


class Any(Message):
    """google.protobuf.Any: a message and the name of its type."""

    type_url: str = string(1)
    value: bytes = data(2)


class Empty(Message):
    """google.protobuf.Empty."""
