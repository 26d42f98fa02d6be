"""Control groups: what bounds and measures the processes of one container.

`Cgroup.create` makes the group of a container on a host with cgroup v1, v2 or both; a process
joins it by writing to `procs_files`. Where the host lets us make none (an ordinary user without a
delegated subtree), the same object bounds nothing, says so in `missing`, and measures by `/proc`.
"""

from wherry.runtime.sandbox.cgroups.cgroup import Cgroup
from wherry.runtime.sandbox.cgroups.control_file import CgroupError
from wherry.runtime.sandbox.cgroups.hierarchies import Hierarchies, plain_path
from wherry.runtime.sandbox.cgroups.statistics import CgroupStats

__all__ = ["Cgroup", "CgroupError", "CgroupStats", "Hierarchies", "plain_path"]
