"""The commands, one file per group; `wherry.cli.index` names the file and the table of each."""
