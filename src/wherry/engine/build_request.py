"""What a client asks to be built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """A build in the client's own words; `dockerfile` is a path in the context."""

    tags: Sequence[str] = ()
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    use_cache: bool = True
