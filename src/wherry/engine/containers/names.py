"""Container names: which are allowed, and inventing them."""

import re
from collections.abc import Callable
from random import choice, randrange

from wherry.engine.errors import InvalidRequest

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)

_ADJECTIVES = """
    agile amber ample azure balmy blithe bold brave breezy bright brisk calm candid cheery clever
    cosy crisp curious daring deft eager early earnest easy fair fearless festive fleet fond frank
    fresh gallant gentle gifted glad golden graceful happy hardy hearty honest humble jolly jovial
    keen kind lively loyal lucid lucky mellow merry mighty mild modest neat nimble noble patient
    peaceful placid plucky polite proud quick quiet ready regal serene sharp shiny silent smart
    snug solid sonic spry steady stoic sunny sure swift tender thrifty tidy tranquil trusty upbeat
    vivid warm wise witty worthy zesty
"""

_BOATS = """
    argosy barge barque bireme brig brigantine canoe caravel carrack catamaran catboat clinker
    clipper coble cog collier coracle corsair currach cutter dhow dinghy dory drifter dugout
    felucca ferry flyboat frigate galleon galley gig gondola gulet hooker hoy hulk junk kayak
    keelboat ketch knarr launch lighter longship lorcha lugger mistral nef outrigger packet peapod
    pinnace piragua pirogue polacre proa punt raft sampan schooner scow scull shallop skiff
    skipjack sloop smack snow spritsail tall tartane tender tjalk trawler trimaran trireme trow
    tug umiak whaler wherry xebec yacht yawl
"""


def check_name(name: str) -> str:
    """The name without Docker's leading slash. Raises InvalidRequest."""
    bare = name.removeprefix("/")
    if not _NAME.fullmatch(bare):
        raise InvalidRequest(
            f"Invalid container name ({name[:100]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return bare


def invent_name(is_free: Callable[[str], bool]) -> str:
    """A free name of the kind "swift_schooner"."""
    for _ in range(8):
        name = f"{choice(_ADJECTIVES.split())}_{choice(_BOATS.split())}"  # noqa: S311
        if is_free(name):
            return name
    while not is_free(numbered := f"{name}{randrange(10, 1 << 20)}"):  # noqa: S311
        pass
    return numbered
