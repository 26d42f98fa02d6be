"""What wherry adds to wasmtime's own WASI, for modules of WASI 0.1."""
