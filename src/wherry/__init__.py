"""wherry: a container engine for WebAssembly."""

__version__ = "0.1.0"
