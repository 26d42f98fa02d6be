"""An image that is only mounted: what a container sees of its layers."""

from __future__ import annotations

from pathlib import Path

from tests.engine_under_test import Wherry

_DOCKERFILE = """
FROM scratch
COPY below /
COPY above /
"""


def build_layered(engine: Wherry) -> str:
    """The name of an image of two layers, the upper one with links that would lead out."""
    folder = engine.folder / "layered"
    for place, text in (("below/only", "below"), ("below/sub/a", "1"), ("above/sub/b", "2")):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for link, target in (("out", "/etc"), ("in", "/sub")):
        if not (folder / "above" / link).is_symlink():
            (folder / "above" / link).symlink_to(target)
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    engine.ok("build", "-q", "-t", "layered", folder)
    return "layered"


def assert_mounted(engine: Wherry, program: str | Path) -> None:
    """A container of `program`, a toolbox, sees what the image has, and writes nothing."""
    name = build_layered(engine)
    whole = ("--mount", f"type=image,source={name},target=/m")
    assert sorted(engine.ok("run", "--rm", *whole, program, "list", "/m/sub").split()) == ["a", "b"]
    assert engine.ok("run", "--rm", *whole, program, "cat", "/m/only") == "below"
    for place in ("/m/new", "/m/sub/a"):
        assert engine("run", "--rm", *whole, program, "put", place, "x").code != 0
    part = ("--mount", f"type=image,source={name},target=/m,image-subpath=in")
    assert sorted(engine.ok("run", "--rm", *part, program, "list", "/m").split()) == ["a", "b"]
    refused = engine.refused(
        "run", "--rm", "--mount", f"type=image,source={name},target=/m,image-subpath=out", program,
        "list", "/m", code=125,
    )  # fmt: skip
    assert "has nothing at 'out'" in refused
