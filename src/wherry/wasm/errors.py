"""What is wrong with a file that should be Wasm."""


class InvalidWasm(ValueError):
    """The bytes are not a well-formed module or component. The message is one line."""
