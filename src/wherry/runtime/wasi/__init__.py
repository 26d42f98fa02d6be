"""What wherry adds to wasmtime's WASI for modules of WASI 0.1: a working directory, and sockets.

`trampolines` are two small modules of Wasm between a guest and wasmtime's functions, made only for
who needs them. `interposition` links them in, so that some calls come to functions of ours instead;
`workdir` and `sockets` are such functions, and know nothing of an engine.
"""
