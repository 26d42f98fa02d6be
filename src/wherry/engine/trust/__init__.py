"""Which images may be used: policies and signatures, seen from the engine.

A policy file that is there is asked at every pull, at every creation of a container, and for the
images a build stands on; and again at every start of a container if it or a key is another by
then. Images are addressed by their content, so that what was checked is what runs. Without a
policy and without `--verify-key` nothing here loads any cryptography.
"""

from wherry.engine.trust.admission import Admission
from wherry.engine.trust.gate import Approval, Gate
from wherry.engine.trust.proof import Proof

__all__ = ["Admission", "Approval", "Gate", "Proof"]
