"""Git repositories as build contexts and sources of ADD: how people name one.

A URL, and after a `#` what of it is meant: `https://example.org/tool.git#v1.2:deploy` is the folder
`deploy` of the tag or branch `v1.2`.
"""

import posixpath
import re
from urllib.parse import urlsplit

import msgspec

from wherry.build.errors import BuildError
from wherry.build.masking import masked, masked_wholly

_WEB = re.compile(r"https?://[^#]*\.git(#.*)?", re.DOTALL)
_OTHERS = ("git://", "ssh://", "git@")
_BY_HOST = "github.com/"
_REF = re.compile(r"(?![-+])[^\s\x00-\x1f\x7f:^~?*\[\\]{1,1000}")
_URL = re.compile(r"[!-~]{1,4000}")


class Repository(msgspec.Struct, frozen=True):
    """What is meant: `folder` (empty for all) of `ref`, a branch, a tag or a whole commit id.

    `url` is for git, http, https or git; it names a host, and may have a login in it.
    """

    url: str
    ref: str = "HEAD"
    folder: str = ""

    def __str__(self) -> str:
        """For errors: its login hidden."""
        return masked(self.url)


def is_repository(text: str) -> bool:
    """Whether a source of ADD means a repository."""
    return _WEB.fullmatch(text) is not None or text.startswith(_OTHERS)


def parse_repository(text: str) -> Repository | None:
    """The repository that `text` names where a build context is wanted; None if it names none.

    Raises BuildError for one that cannot be had.
    """
    if text.startswith(_BY_HOST):
        text = f"https://{text}"
    elif not is_repository(text):
        return None
    url, _, rest = text.partition("#")
    ref, _, folder = rest.partition(":")
    if url.startswith(("ssh://", "git@")):
        hint = "keys for ssh are yours alone: clone it first, and use the folder"
        raise BuildError(f"{masked_wholly(url)}: {hint}")
    if not _URL.fullmatch(url) or not _has_host(url):
        raise BuildError(f"{masked_wholly(url)[:200]!r} is no URL of a repository")
    if ref and not _REF.fullmatch(ref):
        raise BuildError(f"{ref[:200]!r} is no branch, tag or commit")
    inside = posixpath.normpath(f"/{folder}").strip("/")
    if ".." in folder.split("/") or "\0" in folder:
        raise BuildError(f"{folder[:200]!r} is no folder in the repository")
    return Repository(url, ref or "HEAD", inside)


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
