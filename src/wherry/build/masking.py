"""URLs as they are told: a login in one is nothing for histories, which go where an image goes."""

import re

_LOGIN = re.compile(r"(?<=://)[^\s/]*@")
_BROKEN_LOGIN = re.compile(r"(?<=://)\S*@")
_MASK = "xxxxx:xxxxx@"


def masked(text: str) -> str:
    """`text` with the logins of all URLs in it hidden, as BuildKit hides them."""
    return _LOGIN.sub(_MASK, text)


def masked_wholly(text: str) -> str:
    """The same of what is no URL, in whose password there may be a slash."""
    return _BROKEN_LOGIN.sub(_MASK, text)
