"""Where the files of a build come from: whoever asks sends them, or says where they are."""

from typing import BinaryIO

from wherry.build import BuildError, Context, parse_repository
from wherry.build.masking import masked_wholly
from wherry.engine.builds.outside import Outside
from wherry.engine.worker import CHUNK

_WEB = ("http://", "https://")


def receive(remote: str, sent: BinaryIO, context: Context, outside: Outside) -> None:
    """Fill `context`: with the archive that is sent, or with what is at the URL `remote`.

    That is a git repository, an archive, or a Dockerfile that needs no files. Raises BuildError.
    """
    if not remote:
        while chunk := sent.read(CHUNK):
            context.write(chunk)
        return
    repository = parse_repository(remote)
    if repository is not None:
        outside.fetch(repository, context.write)
        return
    if not remote.startswith(_WEB):
        raise BuildError(
            f"{masked_wholly(remote)[:200]!r} is no URL of a build context: git, http or https"
        )
    with outside.open_url(remote) as file:
        while chunk := file.read(CHUNK):
            context.write(chunk)
    context.may_be_dockerfile = True
