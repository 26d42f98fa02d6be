"""Names of images, as Docker's CLI takes them apart."""

from __future__ import annotations

import pytest

from wherry.client.image_name import ImageName, InvalidName


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox"),
        ("team/web", "docker.io/team/web", "team/web"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox:a", "docker.io/library/busybox:a", "busybox"),
        ("localhost/web", "localhost/web", "localhost/web"),
        ("localhost:5000/web", "localhost:5000/web", "localhost:5000/web"),
        ("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c"),
        ("[::1]:5000/web:v1", "[::1]:5000/web:v1", "[::1]:5000/web"),
        ("Host/web", "Host/web", "Host/web"),
        ("r.example.org/web@sha256:ab", "r.example.org/web@sha256:ab", "r.example.org/web"),
        ("web:v1@sha256:ab", "docker.io/library/web:v1@sha256:ab", "web"),
    ],
)
def test_the_parts_of_a_name(text: str, whole: str, familiar: str) -> None:
    name = ImageName(text)
    assert (name.repository + name.suffix, name.familiar) == (whole, familiar)
    assert name.bare == (whole == name.repository)


@pytest.mark.parametrize("text", ["", ":latest", "@sha256:ab", "localhost:5000/", "https://a/b"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidName, match="is no name of an image"):
        ImageName(text)
