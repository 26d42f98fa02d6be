"""The shim as a client of containerd: what only containerd knows about a container's image."""
