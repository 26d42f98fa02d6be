"""The Docker Engine API server: HTTP in, engine calls, HTTP out; no decisions.

`daemon` is what the command `wherryd` does, with `places`, `userns`, `lock`, `door` and `serving`.
`server` turns a request into a `Call` and finds its handler in `routes`; each noun of the API has a
file of handlers named after it. What is neither is a form that something has on the wire.
"""
