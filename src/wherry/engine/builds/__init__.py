"""Builds under way, what they are asked for, run in and get from outside, and what they keep.

The builder itself is the room `build`; it is imported with the first build.
"""

from wherry.engine.builds.collection import Builds

__all__ = ["Builds"]
