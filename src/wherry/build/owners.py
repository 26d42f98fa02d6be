"""Who owns what COPY brings: --chown and --chmod."""

from wherry.build.errors import BuildError
from wherry.build.files import FileTree, resolve
from wherry.images.tar import Kind

_MAX_ID = (1 << 32) - 2
_MAX_DATABASE = 1 << 20


def parse_mode(text: str) -> int:
    """The permission bits of `--chmod`, in octal. Raises BuildError."""
    digits = text.removeprefix("0o")
    if not digits or not set(digits) <= set("01234567") or int(digits, 8) > 0o7777:
        raise BuildError(f"--chmod={text}: octal permissions are needed, like 755")
    return int(digits, 8)


def find_owner(text: str, root: FileTree) -> tuple[int, int]:
    """The user and group ids of `--chown=USER[:GROUP]`.

    Names are looked up in the /etc/passwd and /etc/group of `root`. Without a group, a number is
    both, and a name brings its own group. Raises BuildError.
    """
    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise BuildError(f"--chown={text}: USER or USER:GROUP is needed")
    if user.isascii() and user.isdigit():
        uid = gid = _number(user)
    else:
        uid, gid = (_number(field) for field in _lookup(root, "passwd", user, 4)[2:4])
    if group:
        numeric = group.isascii() and group.isdigit()
        gid = _number(group if numeric else _lookup(root, "group", group, 3)[2])
    return uid, gid


def _lookup(root: FileTree, database: str, name: str, fields: int) -> list[str]:
    path = resolve(root, f"etc/{database}")
    entry = root.entry(path)
    if entry is not None and entry.kind is Kind.FILE:
        with root.open(path) as file:
            text = file.read(_MAX_DATABASE).decode(errors="replace")
        for line in text.splitlines():
            found = line.split(":")
            if found[0] == name and len(found) >= fields:
                return found
    what = "user" if database == "passwd" else "group"
    message = f"--chown: the stage's /etc/{database} knows no {what} {name!r}"
    raise BuildError(f"{message}: use a number, or copy the file there first")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _MAX_ID:
        raise BuildError(f"--chown: {text[:40]!r} is not the number of a user or group")
    return int(text)
