"""Messages of containerd's own services; field numbers are those of its `api/services`."""

from wherry.shim.protobuf import Message, data, embedded, sint, string


class NamedRequest(Message):
    """Get of containers (by id) and of images (by name)."""

    name: str = string(1)


class Container(Message):
    id: str = string(1)
    image: str = string(3)


class GetContainerResponse(Message):
    container: Container | None = embedded(1, Container)


class Descriptor(Message):
    media_type: str = string(1)
    digest: str = string(2)
    size: int = sint(3)


class Image(Message):
    name: str = string(1)
    target: Descriptor | None = embedded(3, Descriptor)


class GetImageResponse(Message):
    image: Image | None = embedded(1, Image)


class ReadContentRequest(Message):
    digest: str = string(1)


class ReadContentResponse(Message):
    offset: int = sint(1)
    data: bytes = data(2)
