"""The name server of each container, at 127.0.0.11 in its own network namespace (RFC 1035).

`question` reads what a container asks, `answers` decides without any I/O, `upstream` asks others,
`server` has the sockets. Every packet is hostile: the guest writes the one kind, the world the
other.
"""
