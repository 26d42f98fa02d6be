"""An engine that is a program of the host: the `wasmtime` command.

It serves wasi:http and has WASI 0.3, which the embedded engine does not. The container's process
builds its sandbox as always and then becomes that program (execveat(2)), which neither lies in the
container nor can be named from there: `stage` holds what it is made of. `installed` finds it,
`words` are the arguments it is given.
"""

from wherry.runtime.engines.host.program import HostProgram

__all__ = ["HostProgram"]
