"""ttrpc, containerd's RPC protocol: unary calls in small frames over a unix socket.

`frames` and `connection` are pure state machines: bytes in, events out, and bytes back. `server`
and `client` put asyncio around them. Streams are not served: no shim service has any.
"""

from wherry.shim.ttrpc.status import CallError, Code

__all__ = ["CallError", "Code"]
