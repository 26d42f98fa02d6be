"""The walls around one container: namespaces, mounts, capabilities, seccomp, cgroups."""
