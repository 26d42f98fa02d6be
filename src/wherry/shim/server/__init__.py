"""The shim itself: a ttrpc server that makes, watches and forgets the tasks of one group.

`serve` runs it. From the outside in: `service` (containerd's task service) over `tasks` (the nouns
and their life) over `process` (one process: state, signals, deadline, exit) with its `stdio`.
`execs` are further processes of a task; `linux` makes containers whose program is no Wasm.
"""
