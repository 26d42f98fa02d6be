"""OCI hooks: programs that an engine has run at points of a container's life (config.md, "Hooks").

`run_hooks` runs a list of them and waits. `ContainerHooks` knows which hooks of a container run
when and with which state; what it returns are `Job`s, which `run_jobs` runs from blocking code and
`finish_jobs` from an event loop; `run_and_warn` and `finish_and_warn` if they may fail. Imported
only for containers that have hooks.
"""

from wherry.runtime.hooks.container import ContainerHooks
from wherry.runtime.hooks.job import (
    Job,
    finish_and_warn,
    finish_jobs,
    run_and_warn,
    run_jobs,
)
from wherry.runtime.hooks.outside import run_hooks

__all__ = [
    "ContainerHooks",
    "Job",
    "finish_and_warn",
    "finish_jobs",
    "run_and_warn",
    "run_hooks",
    "run_jobs",
]
