"""Greedy by measured steps: calibrate, screen, race, confirm, then accept one neighbour or stop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Annotated

from pydantic import Field

from search.costs import COSTS
from search.gains import Noise, scores, smallest_detectable
from search.history import INTERRUPTED, Decision, Description, History, Purpose, Request, Trial
from search.strategies.base import Problem, Proposal, Run, Strategy, StrategyFailed, strategies
from search.strategies.neighbourhood import Candidate, neighbourhood
from search.strategies.standing import Bench, Standing, best_first, contenders, label, tell
from spec.config import Data

_CALIBRATE = 3
"""Seeds of the incumbent in every round, where the exploration allows that many."""


_TOO_MANY = 3
"""Failures of the incumbent in one round after which the search cannot go on."""


@strategies.variant("greedy")
class Greedy(Strategy):
    """Take the one-step neighbour that buys most quality for its cost, while one is significant.

    Every candidate is compared with the incumbent on the same seeds, drawn anew each round. Which
    candidate to confirm is chosen freely on these; whether it is accepted rests only on seeds that
    played no part in the choice, by a one-sided t-test with the noise pooled over the study. The
    round's error ``alpha`` is divided over everything tested there: half to the first attempt, half
    of the rest to the next, and equally over the looks of one attempt, so the chance of a false
    step in a round is at most ``alpha`` (Bonferroni).
    """

    max_rounds: Annotated[int, Field(ge=1)] | None = None
    """Accepted steps after which the search stops."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Largest chance, per round, of accepting a neighbour that is no better."""
    race: Annotated[int, Field(ge=2)] = 8
    """Candidates that get a second seed; half as many get each further one."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """Candidates of one round that may be confirmed, one after the other."""
    shrink: bool = False
    """Also take worse but cheaper steps, if they give up less per unit than was last paid."""

    def propose(self, problem: Problem, history: History) -> Proposal:
        """See ``Strategy.propose``."""
        number = len(history.accepted)
        if self.max_rounds is not None and number >= self.max_rounds:
            return Decision(
                "stop",
                number,
                f"stopped after {_count(number, 'accepted step')}, as asked (max_rounds)",
            )
        return _Round(self, problem, history, number).propose()

    def most_trials(self, problem: Problem, candidates: int) -> int:
        """See ``Strategy.most_trials``."""
        seeds = problem.seeds
        widths = [max(2, self.race >> block) for block in range(seeds.max - seeds.screen)]
        raced = sum(min(width, candidates) for width in widths)
        looks = seeds.max // seeds.confirm * seeds.confirm if seeds.confirm else 0
        confirmed = (min(self.attempts, candidates) + 1) * looks
        return candidates * seeds.screen + raced + seeds.max + confirmed


@dataclass
class _Round:
    """One round, reconstructed from the history at every call.

    ``measured`` grows phase by phase with what each phase asked for, so that every conclusion rests
    on the same trials whenever and in whatever order they came in.
    """

    options: Greedy
    problem: Problem
    history: History
    number: int
    measured: dict[str, dict[int, Trial]] = field(default_factory=dict)

    def propose(self) -> Proposal:
        waiting = self._collect(self._screening())
        if waiting is not None:
            return waiting
        raced = self._race()
        if isinstance(raced, Run):
            return raced
        return self._confirm(raced)

    # -- what is compared --------------------------------------------------------------------------

    @cached_property
    def incumbent(self) -> Description:
        accepted = self.history.accepted
        if not accepted:
            return self.problem.baseline
        config = accepted[-1].config
        assert config is not None
        (description,) = self.problem.describe([config])
        assert isinstance(description, Description)
        return description

    @cached_property
    def candidates(self) -> list[Candidate]:
        taken = {self.problem.baseline.config_id: "it is the baseline"}
        taken |= {
            step.config_id: f"it was accepted in round {step.round}"
            for step in self.history.accepted
            if step.config_id is not None
        }
        return neighbourhood(self.problem, self.incumbent, taken)

    @cached_property
    def runnable(self) -> list[Candidate]:
        return [candidate for candidate in self.candidates if not candidate.rejected]

    @cached_property
    def last_rate(self) -> float | None:
        """What the last dearer step paid per unit of cost, in score."""
        same = (
            step.detail
            for step in self.history.accepted
            if step.detail.get("setting") == self.setting
        )
        paid = [detail["rate"] for detail in same if detail.get("rate") is not None]
        return paid[-1] if paid else None

    @property
    def rate(self) -> float | None:
        """The exchange rate for worse but cheaper steps; None when they are not taken."""
        return self.last_rate if self.options.shrink else None

    @cached_property
    def earlier_noise(self) -> Noise | None:
        """Relative noise as the last accepted step knew it, if it was measured as trials are now.

        It holds all earlier rounds: each has seeds of its own, so their estimates simply add up.
        """
        last = self.history.accepted[-1].detail if self.history.accepted else {}
        if not last.get("noise") or last.get("setting") != self.setting:
            return None
        return Noise(**last["noise"])

    @cached_property
    def _looks(self) -> range:
        """Numbers of fresh seeds at which a confirmation is looked at."""
        seeds = self.problem.seeds
        return range(seeds.confirm, seeds.max + 1, seeds.confirm) if seeds.confirm else range(0)

    @property
    def setting(self) -> str:
        """Budget, clock and objective: what noise and exchange rates are known for."""
        objective = self.problem.objective
        asked = f"{objective.gain} {objective.target} {objective.crossing} {objective.cost}"
        return f"{self._request(None, 0, '').setting} {asked}"

    @property
    def confidence(self) -> float:
        return 1.0 - self.options.alpha

    # -- phases ------------------------------------------------------------------------------------

    def _screening(self) -> list[Request]:
        seeds = self.problem.seeds
        calibrate = max(seeds.screen, min(_CALIBRATE, seeds.max))
        own = [self._request(None, seed, "calibrate") for seed in self._selection_seeds(calibrate)]
        shared = self._selection_seeds(seeds.screen)
        return own + [
            self._request(candidate, seed, "screen")
            for candidate in self.runnable
            for seed in shared
        ]

    def _race(self) -> Run | list[Standing]:
        """More seeds for those that may still win, in blocks; then every candidate's standing."""
        seeds, options = self.problem.seeds, self.options
        bench = self._bench()
        noise = bench.noise()
        shared = self._selection_seeds(seeds.screen)
        final = {c.edit.key: bench.stand(c, shared, noise) for c in self.runnable}
        running, width = list(final.values()), options.race
        for count in range(seeds.screen + 1, seeds.max + 1):
            if noise is None:
                break
            running = contenders(running, width, self.confidence, self.rate)
            if not running:
                break
            seed = self._selection_seeds(count)[-1]
            asked = [self._request(None, seed, "race")]
            asked += [self._request(standing.candidate, seed, "race") for standing in running]
            waiting = self._collect(asked)
            if waiting is not None:
                return waiting
            bench = self._bench()
            noise = bench.noise()
            running = [
                bench.stand(s.candidate, self._selection_seeds(count), noise) for s in running
            ]
            final |= {standing.candidate.edit.key: standing for standing in running}
            width = max(2, width // 2)
        return [self._ruled_out(standing) for standing in final.values()]

    def _confirm(self, standings: list[Standing]) -> Proposal:
        """Test the best on seeds that played no part in choosing it."""
        ranked = best_first(
            (s for s in standings if not s.candidate.rejected), self.confidence, self.rate
        )
        attempts: list[Data] = []
        for attempt, standing in enumerate(ranked[: self.options.attempts]):
            alpha = self.options.alpha / 2 ** (attempt + 1)
            verdict = self._attempt(standing, alpha)
            if isinstance(verdict, Run):
                return verdict
            attempts.append(verdict)
            if verdict["confirmed"]:
                return self._accept(standing, standings, attempts)
        return self._stop(standings, attempts)

    def _attempt(self, standing: Standing, alpha: float) -> Run | Data:
        """One candidate on fresh seeds, looked at block by block; the looks share ``alpha``."""
        margin = standing.margin(self.rate)
        if not self._looks:
            return {"key": standing.candidate.edit.key, "confirmed": True, "seeds": [], "p": None}
        verdict: Data = {}
        for count in self._looks:
            fresh = self._fresh_seeds(count)
            asked = [
                self._request(side, seed, "confirm")
                for seed in fresh
                for side in (standing.candidate, None)
            ]
            waiting = self._collect(asked)
            if waiting is not None:
                return waiting
            bench = self._bench()
            result = bench.stand(standing.candidate, fresh, bench.noise())
            verdict = self._verdict(result, alpha / len(self._looks), margin)
            if (
                verdict["confirmed"]
                or result.gain is None
                or result.gain.high(self.confidence) <= margin
            ):
                break
        return verdict

    def _verdict(self, result: Standing, alpha: float, margin: float) -> Data:
        p = None if result.gain is None else result.gain.p_value(margin)
        sure = p is not None and p <= alpha
        if result.gain is not None and p is None:  # nothing was repeated: no noise to test against
            sure = result.gain.mean > margin
        # what failed on a fresh seed is not confirmed by the seeds it survived
        sure = sure and all(trial.state == "finished" for trial in result.trials.values())
        return {
            **tell(result, self.problem.objective, self.confidence),
            "confirmed": sure,
            "p": p,
            "alpha": alpha,
            "incumbent_loss": self._loss(self.incumbent, result.trials),
            "loss": self._loss(result.candidate.description, result.trials),
        }

    # -- decisions ---------------------------------------------------------------------------------

    def _accept(
        self, standing: Standing, standings: Sequence[Standing], attempts: list[Data]
    ) -> Decision:
        description = standing.candidate.description
        assert description is not None
        confirmed = attempts[-1]
        gain, change = confirmed.get("gain"), confirmed.get("cost")
        rate = self.last_rate
        if gain and change and standing.quadrant == "better-dearer" and change["change"] > 0:
            rate = gain["mean"] / change["change"]
        detail = {
            **self._detail(standings, attempts),
            "chosen": standing.candidate.edit.key,
            "rate": rate,
        }
        said = self._said(standing, confirmed)
        words = f"round {self.number}: accepted {standing.candidate.edit.key}: {said}"
        return Decision(
            "accept", self.number, words, description.config, description.config_id, detail
        )

    def _said(self, standing: Standing, confirmed: Data) -> str:
        cost = COSTS[self.problem.objective.cost]
        parts = []
        if confirmed.get("loss") is not None:
            seeds = len(confirmed["seeds"])
            parts.append(
                f"val_loss {confirmed['incumbent_loss']:.4f} -> {confirmed['loss']:.4f} "
                f"on {_count(seeds, 'fresh seed')}"
            )
        if confirmed.get("p") is not None:
            parts.append(f"p = {confirmed['p']:.2g}")
        if standing.cost is not None:
            parts.append(
                f"{cost.name} {standing.cost.mean:+,.6g}{' ' + cost.unit if cost.unit else ''}"
            )
        why = {
            "better-cheaper": "not dearer, first by gain",
            "better-dearer": "dearer, first by the lower bound of gain per cost",
        }.get(
            standing.quadrant or "",
            "worse, but gives up less per unit saved than the last step paid",
        )
        return f"{', '.join(parts)}; {why}"

    def _stop(self, standings: Sequence[Standing], attempts: list[Data]) -> Decision:
        noise = self._bench().noise()
        if not self.runnable:
            words = f"no neighbour left: all {len(self.candidates)} are excluded"
        else:
            words = f"no significant neighbour among {len(self.runnable)}"
            if attempts:
                words += (
                    f" ({_count(len(attempts), 'candidate')} tried on fresh seeds, none confirmed)"
                )
            words += self._sensitivity(noise)
        return Decision("stop", self.number, words, detail=self._detail(standings, attempts))

    def _sensitivity(self, noise: Noise | None) -> str:
        if noise is None:
            return "; the noise is unknown: give seeds.max 2 or more to learn it"
        if not self._looks:
            return ""
        alpha = self.options.alpha / 2 / len(self._looks)
        effect = smallest_detectable(noise, self._looks[-1], alpha)
        measure = quality_name(self.problem)
        return f"; the test finds a gain of {effect:.2g} in {measure} with 80 % power"

    def _detail(self, standings: Sequence[Standing], attempts: list[Data]) -> Data:
        confidence, objective = self.confidence, self.problem.objective
        noise = self._bench().relative_noise()
        told = [tell(standing, objective, confidence) for standing in standings]
        told += [label(candidate) for candidate in self.candidates if candidate.rejected]
        return {
            "incumbent": {
                "config_id": self.incumbent.config_id,
                "trials": self._numbers(self.incumbent),
            },
            "candidates": told,
            "attempts": attempts,
            "noise": noise and asdict(noise),
            "setting": self.setting,
            "alpha": self.options.alpha,
        }

    # -- seeds and requests ------------------------------------------------------------------------

    def _selection_seeds(self, count: int) -> list[int]:
        return self._seeds(count, 0)

    def _fresh_seeds(self, count: int) -> list[int]:
        return self._seeds(count, 500)

    def _seeds(self, count: int, offset: int) -> list[int]:
        """The round's seeds, without those on which the incumbent itself failed.

        Raises:
            StrategyFailed: When it failed on too many.
        """
        first = self.problem.seeds.first + 1000 * self.number + offset
        found: list[int] = []
        failures = []
        for seed in range(first, first + 500):
            trial = self.history.find(self._request(None, seed, ""))
            failure = None if trial is None else trial.failure
            if failure is None or failure.reason == INTERRUPTED:
                found.append(seed)
            else:
                failures.append(f"seed {seed}: {failure}")
            if len(found) == count:
                break
            if len(failures) == _TOO_MANY:
                raise StrategyFailed(f"the incumbent failed on {_TOO_MANY} seeds; {failures[-1]}")
        return found

    def _request(self, candidate: Candidate | None, seed: int, phase: str) -> Request:
        description = self.incumbent if candidate is None else candidate.description
        assert description is not None
        edit = None if candidate is None else candidate.edit.to_dict()
        return self.problem.request(description, seed, Purpose(self.number, phase, edit))

    def _collect(self, asked: Iterable[Request]) -> Run | None:
        """Take in the trials of these requests; a Run while some are missing."""
        asked = list(asked)
        missing = tuple(request for request in asked if self.history.pending(request))
        trials = [trial for request in asked if (trial := self.history.find(request)) is not None]
        running = sum(trial.state == "running" for trial in trials)
        if missing or running:
            return Run(missing, len(missing) + running)
        for trial in trials:
            self.measured.setdefault(trial.config_id, {})[trial.seed] = trial
        return None

    def _bench(self) -> Bench:
        return Bench(self.problem.objective, self.incumbent, self.measured, self.earlier_noise)

    def _numbers(self, description: Description) -> list[int]:
        return [trial.number for trial in self.measured.get(description.config_id, {}).values()]

    def _loss(self, description: Description | None, seeds: Iterable[int]) -> float | None:
        """Mean best validation loss of a config over some seeds."""
        assert description is not None
        row = self.measured.get(description.config_id, {})
        losses = [
            loss
            for seed in seeds
            if seed in row
            and (loss := scores(row[seed], self.problem.objective).val_loss) is not None
        ]
        return math.fsum(losses) / len(losses) if losses else None

    def _ruled_out(self, standing: Standing) -> Standing:
        """Reject a candidate that diverged on a seed, or whose measured cost is over a limit."""
        reason = "it diverged on one of its seeds" if standing.diverged else ""
        for name, limit in self.problem.objective.limits.items():
            values = [COSTS[name].of(trial) for trial in standing.trials.values()]
            worst = max((value for value in values if value is not None), default=0.0)
            if worst > limit:
                reason = f"{name} {worst:,.6g} is over the limit {limit:,.6g}"
        if not reason:
            return standing
        return replace(standing, candidate=replace(standing.candidate, rejected=reason))


def quality_name(problem: Problem) -> str:
    """What a gain is measured in."""
    return {
        "val_loss": "score, exp(-val_loss)",
        "val_bpb": "score, 2^(-val_bpb)",
        "time_to_target": "ln(seconds to target)",
    }[problem.objective.gain]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
