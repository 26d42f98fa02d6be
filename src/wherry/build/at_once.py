"""The stages of all targets, built at once as far as they do not need each other."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from wherry.build import syntax
from wherry.build.events import Event
from wherry.build.session import Session
from wherry.build.spool import MAX_SPOOL, Spool
from wherry.build.stages import PlannedStage
from wherry.build.target import Identity, Part, Steps, Target
from wherry.build.together import Together
from wherry.build.turns import Turns

AT_ONCE = max(4, os.cpu_count() or 1)
"""Stages that are worked at; what they do is as often waiting for the network as computing."""

Ending = Callable[[Target, bool | None, Steps], None]
"""Is told of a target whose last stage is built, and what `Target.build` said of that one."""


class _Job(msgspec.Struct, frozen=True):
    """A stage of a target. `before` are the steps that are counted before its own."""

    target: Target
    planned: PlannedStage
    identity: Identity
    before: int
    is_last: bool


def build_stages(
    session: Session,
    dockerfile: syntax.Dockerfile,
    targets: Sequence[Target],
    labels: tuple[syntax.Label, ...],
    ending: Ending,
) -> None:
    """Build what the targets need, with `labels` after the last stage of each. Raises BuildError.

    The first failure ends all, once what other stages were in the middle of has ended.
    """
    jobs, total = _plan(targets, len(dockerfile.args), len(labels))
    steps = Steps(session.progress, 0, total)
    for arg in dockerfile.args:
        steps.start(arg.text)
        steps.finish("")
    stages = _Stages(session, jobs, total, labels, ending)
    stages.build()


def _plan(targets: Sequence[Target], before: int, labels: int) -> tuple[list[_Job], int]:
    """All stages in the order in which they are told of, and how many steps that makes."""
    plans = [target.plan() for target in targets]
    uses = Counter(identity for plan in plans for identity in plan)
    jobs: list[_Job] = []
    known: dict[Identity, int] = {}
    total = before
    for target, plan in zip(targets, plans, strict=True):
        target.common = {identity for identity, count in uses.items() if count > 1}
        for number, (identity, planned) in enumerate(plan.items(), 1):
            is_last = number == len(plan)
            if identity not in known:
                known[identity] = total
                total += 1 + len(planned.syntax.body) + (labels if is_last else 0)
            jobs.append(_Job(target, planned, identity, known[identity], is_last))
    return jobs, total


class _Stages:
    def __init__(
        self,
        session: Session,
        jobs: Sequence[_Job],
        total: int,
        labels: tuple[syntax.Label, ...],
        ending: Ending,
    ) -> None:
        self._session = session
        self._jobs = jobs
        self._total = total
        self._labels = labels
        self._ending = ending
        self._together = Together(AT_ONCE, self._abandon)
        self._turns = Turns(session.progress, self._new_spool)
        self._places = {(id(job.target), job.planned.number): at for at, job in enumerate(jobs)}
        self._first: dict[Identity, int] = {}
        for at, job in enumerate(jobs):
            self._first.setdefault(job.identity, at)

    def build(self) -> None:
        try:
            self._together.carry_out(
                [partial(self._carry_out, at) for at in range(len(self._jobs))]
            )
        except BaseException:
            if self._together.failed is not None:
                self._turns.show(self._together.failed)
            raise

    def _carry_out(self, at: int) -> None:
        job = self._jobs[at]
        if self._first[job.identity] != at:
            self._together.wait(at, self._first[job.identity])

        def progress(event: Event) -> None:
            self._together.check()
            self._turns.tell(at, event)

        def wait(number: int) -> None:
            self._together.wait(at, self._places[id(job.target), number])

        steps = Steps(progress, job.before, self._total)
        part = Part(progress, steps, self._together.check, wait)
        cached = job.target.build(job.planned, part, self._labels if job.is_last else ())
        if job.is_last:
            self._ending(job.target, cached, steps)
        self._turns.end(at)

    def _abandon(self) -> None:
        self._session.runner.abandon()
        if self._session.outside is not None:
            self._session.outside.abandon()

    def _new_spool(self) -> Spool:
        spool = Spool(self._session.folder, MAX_SPOOL, "what the steps say")
        return self._session.resources.enter_context(spool)
