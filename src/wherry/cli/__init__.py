"""What a person types: one file per command group in `commands/`, Docker's words and output.

Each command is a `Command`: a table of flags and a function. Parsing, help and shell completion
all read the same table. `index` knows where each command lives, so that only its file is imported.
"""
