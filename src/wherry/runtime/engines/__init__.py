"""Engines: what executes WebAssembly.

An engine compiles a module to code (in a process of its own), loads that code in a container's
process, and runs it. `embedded` is wasmtime inside this process, the default.
"""
