"""Containers whose program is no Wasm: handed whole to runc or crun.

Imported by a shim with its first Linux container. What runs inside is that runtime's affair; here
it is found, called, waited for, and cleaned up after.
"""

NOTE = "wherry-linux"
"""In a bundle from before its runtime is first called until its container is deleted.

A symbolic link, which is made at once or not at all.
"""
