"""What can go wrong when wherry is put into an engine."""


class InstallError(Exception):
    """One line for a person: what was wrong, and what to do. Nothing has been changed."""
