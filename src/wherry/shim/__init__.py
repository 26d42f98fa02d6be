"""The shim: one supervisor of container processes, driven over ttrpc by containerd or wherryd.

`client` is what drives it (the engine imports nothing else of this room); `server` is the shim
itself; `main` is the command `containerd-shim-wherry-v1`. Between them lies containerd's shim
protocol: `ttrpc` (frames), `protobuf` (encoding) and `messages` (what is said).
"""
