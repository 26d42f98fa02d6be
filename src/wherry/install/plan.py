"""What an `install` or `uninstall` is going to do: shown to the person, then carried out."""

from dataclasses import dataclass, field

from wherry.install.draft import Draft, FileChange
from wherry.install.ledger import Ledger
from wherry.install.package import LAUNCHERS


@dataclass
class Plan:
    """Drafted changes, and what the person must know about them."""

    draft: Draft
    ledger: Ledger
    removes: bool = False
    notes: list[str] = field(default_factory=list)
    """What is found and done, a line each."""
    warnings: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    """What the person must agree to before anything is done."""
    restart: list[list[str]] = field(default_factory=list)
    """Commands after which the changes count."""
    then: list[str] = field(default_factory=list)
    """What to type next."""

    @property
    def changes_anything(self) -> bool:
        """Whether something is to be done to the machine."""
        return bool(self.draft.changes)

    def reconfigures(self, since: int = 0) -> bool:
        """Whether, beside the first `since` changes, an engine's configuration is to change.

        It is read when the engine starts; commands are looked up whenever they are run.
        """
        return any(
            isinstance(change, FileChange) and not change.path.startswith(f"{LAUNCHERS}/")
            for change in self.draft.changes[since:]
        )

    def carry_out(self) -> None:
        """Make the changes, under the ledger's lock. Raises InstallError.

        The ledger is stored first when something is added, and last when it is taken away: at any
        moment it names at least what is there.
        """
        if self.removes:
            self.draft.make()
            self.ledger.store()
        else:
            self.ledger.store()
            self.draft.make()


@dataclass(frozen=True)
class Options:
    """What a person chose, for all targets."""

    bin: str = "/usr/local/bin"
    also: tuple[str, ...] = ()
    """Other shims' names to answer to: `wasmedge`, …"""
    force: bool = False
    config: str = ""
    """The engine's configuration file, "" for its usual place."""
