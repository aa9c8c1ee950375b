"""Exclusive probes: the step time of baseline and incumbent while nothing runs beside them.

Trials that run at the same time slow each other down, so the seconds a search compares are seconds
of trials packed alike. What a config takes alone is its steps to the target times its step time
alone, which a few dozen steps tell.
"""

from __future__ import annotations

from statistics import median

from search.history import PROBE, Decision, Description, History, Purpose, Request
from search.ledger import Ledger
from search.strategies.base import Problem, Proposal, Run

STEPS = 50
"""Steps of a probe, at the pace of the packed trials."""
LEAST_SECONDS = 0.5
"""Shortest probe: the first steps of a process are slower than the rest."""
ALONE = (", alone", ", 1 at a time")
"""How the clocks of trials end that had nothing beside them."""


def with_probes(proposal: Proposal, problem: Problem, history: History) -> Proposal:
    """The same proposal; a time-to-target search makes its probes before it stops.

    A probe that fails leaves the exclusive time unknown and nothing else. Once the study's total is
    spent none is made; what is left of it may be too little for a trial and enough for a probe.
    """
    stopping = isinstance(proposal, Decision) and proposal.kind == "stop"
    stopping = stopping and not Ledger.of(history).exceeded(problem.total)
    if not stopping or problem.objective.gain != "time_to_target" or problem.workers < 2:
        return proposal
    owed, running = [], 0
    for description in _whom(problem, history):
        made = [t for t in history if t.probe and t.config_id == description.config_id]
        own = [t for t in made if t.request.clock == _clock(problem)]
        running += sum(trial.state == "running" for trial in own)
        done = (t for t in own if not t.interrupted)
        request = _probe(description, problem, history)
        if request is not None and not any(done):
            owed.append(request)
    if owed or running:
        return Run(tuple(owed), len(owed) + running, alone=True)
    return proposal


def exclusive_step_ms(config_id: str, history: History) -> float | None:
    """Step time of a config with nothing of the study beside it; None when it is not known.

    Told by its probe, or by all its trials where they never shared the machine.
    """
    own = [
        trial
        for trial in history
        if trial.config_id == config_id
        and trial.state == "finished"
        and trial.request.clock.endswith(ALONE)
    ]
    latest = [t for t in own if t.request.clock == own[-1].request.clock]
    told = [t.end.step_ms for t in latest if t.end is not None and t.end.step_ms is not None]
    return median(told) if told else None


def _whom(problem: Problem, history: History) -> list[Description]:
    return [problem.baseline, *([problem.incumbent(history)] if history.accepted else [])]


def _clock(problem: Problem) -> str:
    return f"{problem.clock.rpartition(', ')[0]}, alone"


def _probe(description: Description, problem: Problem, history: History) -> Request | None:
    """A short trial; None where the trainer tells no step time, or no time of training to end by.

    It ends by the clock, which does not bend the schedule: a cap on steps might be shorter than the
    warm-up. Seconds since the launch would end it while it starts.
    """
    packed = [
        trial.end.step_ms
        for trial in history
        if trial.config_id == description.config_id
        and not trial.probe
        and trial.facts.get("clock") != "arrival"
        and trial.end is not None
        and trial.end.step_ms is not None
    ]
    if not packed:
        return None
    seconds = max(STEPS * median(packed) / 1000, LEAST_SECONDS)
    if problem.budget.max_seconds is not None:
        seconds = min(seconds, problem.budget.max_seconds)
    budget = problem.budget.model_copy(update={"max_seconds": seconds})
    purpose = Purpose(history.round, PROBE)
    return Request(description, problem.seeds.first, budget, purpose, _clock(problem))
