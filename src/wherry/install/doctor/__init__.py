"""`wherry doctor`: what is installed, what is missing, and what to type.

Every probe reads only, may be run by anybody, and is bounded in time.
"""

from wherry.install.doctor.examination import examine
from wherry.install.doctor.finding import Finding

__all__ = ["Finding", "examine"]
