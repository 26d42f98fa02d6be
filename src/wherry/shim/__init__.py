"""The shim: one supervisor of container processes, driven over ttrpc by containerd or wherryd.

`client` is what drives it (the engine imports nothing else of this room); `main` is the command
`containerd-shim-wherry-v1`, whose actions are `start` and `cleanup`; `server` is the shim itself,
which `start` makes, or for pods the `nursery`. What only containerd knows it is asked by way of
`containerd`. Between all of them lies containerd's shim protocol: `ttrpc` (frames), `protobuf`
(encoding) and `messages` (what is said).
"""
