"""The Docker Engine API server: HTTP in, engine calls, HTTP out; no decisions.

`daemon` is what the command `wherryd` does. `_server` turns a request into a `Call` and finds its
handler in `_routes`; each noun of the API has a file of handlers named after it.
"""
