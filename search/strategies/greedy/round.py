"""The phases of a round: who is trained, raced and confirmed, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from search.history import CALIBRATE, CONFIRM
from search.strategies.base import Candidate, Proposal, Run
from search.strategies.greedy.decisions import Outcome
from search.strategies.greedy.ground import Ground
from search.strategies.greedy.lazy import (
    Postponed,
    due,
    earlier_gains,
    most_promising,
    postponable,
)
from search.strategies.greedy.spending import levels
from search.strategies.greedy.together import together
from search.strategies.greedy.trials import Trials
from search.strategies.neighbourhood import over_measured_limit
from search.strategies.standing import Standing, best_first, contenders, tell
from search.strategies.verdict import Verdict, judge
from spec.config import Data

OWN_SEEDS = 3
"""Seeds of the incumbent in a round, where the exploration allows that many and the noise is not
known well yet."""
KNOWN_WELL = 8
"""Degrees of freedom from which on the noise needs no more seeds of the incumbent: a t-test then
asks for a gain a tenth larger than with the noise known."""


@dataclass
class Round:
    """One round, gone through from its start at every call.

    Attributes:
        ground: What it starts from.
        trained: Neighbours that are measured in this round.
        waiting: Those that an earlier round measured and that cannot be the best now.
        standings: Where the trained ones stand, by the key of the edit.
        attempts: What fresh seeds said of those that were tried on them.
        turns: How many of them since the last neighbour joined.
    """

    ground: Ground
    trained: list[Candidate] = field(default_factory=list)
    waiting: list[Postponed] = field(default_factory=list)
    standings: dict[str, Standing] = field(default_factory=dict)
    attempts: list[Data] = field(default_factory=list)
    turns: int = 0

    def propose(self) -> Proposal:
        """What to do next; see ``Strategy.propose``."""
        self._divide()
        while True:
            missing = self._screen() or self._race()
            if missing is not None:
                return missing
            best, ground = self._best(), self.ground
            if late := due(self.waiting, best, ground.confidence, ground.rate):
                self._train(late)
            elif best is None:
                return self._outcome().without_step()
            elif (proposal := self._attempt(best)) is not None:
                return proposal

    @cached_property
    def trials(self) -> Trials:
        ground = self.ground
        return Trials(
            ground.problem,
            ground.history,
            ground.number,
            ground.incumbent,
            ground.earlier_noise,
            ground.carried,
        )

    # -- who is trained ----------------------------------------------------------------------------

    def _divide(self) -> None:
        """Train what no earlier round measured, and the most promising of the others."""
        ground, options = self.ground, self.ground.options
        known = earlier_gains(ground.history.accepted, ground.setting, options.recheck)
        self.waiting = postponable(ground.runnable, known, self.trials.selecting())
        self._train(most_promising(self.waiting, options.race, ground.confidence, ground.rate))

    def _train(self, joining: Iterable[Postponed]) -> None:
        """Let some that wait join those that are trained."""
        self.turns = 0
        keys = {postponed.candidate.edit.key for postponed in joining}
        self.waiting = [p for p in self.waiting if p.candidate.edit.key not in keys]
        still = {postponed.candidate.edit.key for postponed in self.waiting}
        self.trained = [c for c in self.ground.runnable if c.edit.key not in still]

    # -- phases ------------------------------------------------------------------------------------

    def _screen(self) -> Run | None:
        """The incumbent on some seeds, every neighbour that is trained on the first of them."""
        seeds, trials, earlier = self.ground.problem.seeds, self.trials, self.ground.earlier_noise
        known = earlier is not None and earlier.freedom >= KNOWN_WELL
        calibrate = seeds.screen if known else max(seeds.screen, min(OWN_SEEDS, seeds.max))
        own = [trials.request(None, s, CALIBRATE) for s in trials.selection_seeds(calibrate)]
        shared = trials.selection_seeds(seeds.screen)
        return trials.collect(
            own + [trials.request(c, seed, "screen") for c in self.trained for seed in shared]
        )

    def _race(self) -> Run | None:
        """More seeds for those that may still win, in blocks, until one is clear."""
        ground, seeds, trials = self.ground, self.ground.problem.seeds, self.trials
        running = self._stand(c for c in self.trained if not self._tried(c))
        width = ground.options.race
        for count in range(seeds.screen + 1, seeds.max + 1):
            running = [standing for standing in running if not self._ruled_out(standing)]
            running = contenders(running, width, ground.confidence, ground.rate)
            if not running or self._settled() or trials.selecting().noise() is None:
                break
            seed = trials.selection_seeds(count)[-1]
            sides = [None, *(standing.candidate for standing in running)]
            missing = trials.collect(trials.request(side, seed, "race") for side in sides)
            if missing is not None:
                return missing
            running = self._stand(standing.candidate for standing in running)
            width = max(2, width // 2)
        self._stand(c for c in self.trained if not self._tried(c))  # all by the same noise
        return None

    def _best(self) -> Standing | None:
        """Who is to be tried next; None when nobody is clear, or all turns are used up."""
        ranked = self._ranked() if self.turns < self.ground.options.attempts else []
        return ranked[0] if ranked else None

    def _attempt(self, best: Standing) -> Proposal | None:
        """Test the best, or all that are clear together, on seeds that played no part in choosing.

        Returns:
            Trials to run or the step to accept; None when it failed, and the others race on.
        """
        combined = self._combined(best)
        if isinstance(combined, Run):
            return combined
        standing = combined or best
        verdict = self._confirm(standing)
        if isinstance(verdict, Run):
            return verdict
        self.attempts.append(verdict)
        self.turns += 1
        return self._outcome().accept(standing) if verdict["confirmed"] else None

    def _combined(self, best: Standing) -> Standing | Run | None:
        """Where all that are clear stand together, measured on the seeds that they share.

        None when they are no step: too few, tried before, or not better than the best of them by
        more than noise; the best is the one that gains most, whether or not its turn comes first.
        Where the noise is unknown, nothing is clear but by luck, and no part counts.
        """
        ground, trials = self.ground, self.trials
        found = self._clear(None, ground.options.alpha)
        clear = [s for s in found if s.gain is not None and s.gain.error is not None]
        candidate = together(ground, clear) if ground.options.combines else None
        if candidate is None or self._tried(candidate):
            return None
        seeds = trials.selection_seeds(ground.problem.seeds.screen)
        if missing := trials.collect(trials.request(candidate, s, "combine") for s in seeds):
            return missing
        (standing,) = self._stand([candidate])
        rival = max([best, *clear], key=_mean).candidate.description
        assert rival is not None
        against = replace(trials.selecting(), incumbent=rival)
        more = against.stand(candidate, seeds, against.noise()).gain
        fine = more is not None and more.low(ground.confidence) > 0.0
        return standing if fine and not self._ruled_out(standing) else None

    def _confirm(self, standing: Standing) -> Run | Data:
        """One candidate on fresh seeds, looked at block by block; see ``spending``."""
        ground, trials, candidate = self.ground, self.trials, standing.candidate
        looks = ground.problem.seeds.looks
        if not looks:
            return {"key": candidate.edit.key, "confirmed": True, "seeds": [], "p": None}
        told: Data = {}
        tested = levels(ground.options.alpha, len(self.attempts), looks)
        for count, level in zip(looks, tested, strict=True):
            fresh, sides = trials.fresh_seeds(count), (candidate, None)
            asked = [trials.request(side, seed, CONFIRM) for seed in fresh for side in sides]
            missing = trials.collect(asked)
            if missing is not None:
                return missing
            result = trials.whole().confirming(candidate, fresh)
            margin = result.margin(ground.rate)
            verdict = judge(result, ground.problem, level, margin)
            told = self._told(result, verdict, level)
            gain, over = result.gain, verdict.confirmed or verdict.hopeless
            if over or gain is None or gain.mean <= margin:
                break
        return told

    # -- standings ---------------------------------------------------------------------------------

    def _stand(self, candidates: Iterable[Candidate]) -> list[Standing]:
        """Where candidates stand on all that chooses; kept as their last word so far."""
        bench = self.trials.selecting()
        noise = bench.noise()
        seeds = self.trials.selection_seeds(self.ground.problem.seeds.max)
        found = [bench.stand(candidate, seeds, noise) for candidate in candidates]
        self.standings |= {standing.candidate.edit.key: standing for standing in found}
        return found

    def _ranked(self) -> list[Standing]:
        """Those clear of their margin that were not tried yet, in the order they deserve.

        First those that are clear of it also when as many are looked at as there are (Bonferroni):
        else the luckiest of many small ones would use up the attempts before a large one's turn.
        """
        rate, alpha = self.ground.rate, self.ground.options.alpha
        ranked = [
            *self._clear(rate, alpha),
            *best_first(self._open(), self.ground.confidence, rate),
        ]
        return list({standing.candidate.edit.key: standing for standing in ranked}.values())

    def _settled(self) -> bool:
        """Whether one is clear at the very first level that a confirmation would test it at.

        Else the luckiest of some single measurements would be tried, fail, and spend most of alpha.
        """
        alpha, looks = self.ground.options.alpha, self.ground.problem.seeds.looks
        first = levels(alpha, 0, looks)[0] if looks else alpha
        return bool(self._clear(self.ground.rate, first))

    def _clear(self, rate: float | None, alpha: float) -> list[Standing]:
        """Those clear of their margin at ``alpha``, shared by all that were looked at, best first.

        Shared equally (Bonferroni).
        """
        strict = 1.0 - alpha / max(len(self.standings), 1)
        return best_first(self._open(), strict, rate)

    def _open(self) -> list[Standing]:
        """Those that may be tried on fresh seeds and were not yet."""
        single = (s for s in self._judged() if s.candidate.edit.op != "several")
        return [s for s in single if not s.candidate.rejected and not self._tried(s.candidate)]

    def _tried(self, candidate: Candidate) -> bool:
        """Whether fresh seeds have judged its config; all layers at once is also one by one."""
        assert candidate.description is not None
        return candidate.description.config_id in {a["config_id"] for a in self.attempts}

    def _judged(self) -> list[Standing]:
        """All standings, those ruled out with the reason."""
        return [
            replace(standing, candidate=replace(standing.candidate, rejected=reason))
            if (reason := self._ruled_out(standing))
            else standing
            for standing in self.standings.values()
        ]

    def _ruled_out(self, standing: Standing) -> str:
        """Why its trials rule a candidate out, whatever it gains; empty when they do not."""
        if reason := over_measured_limit(self.ground.problem, standing.trials.values()):
            return reason
        if standing.diverged:
            return "it diverged on one of its seeds"
        early = [trial.stopped for trial in standing.trials.values() if trial.stopped]
        return f"it was ended early: {early[0]}" if early else ""

    def _told(self, result: Standing, verdict: Verdict, alpha: float) -> Data:
        """What fresh seeds said, as plain data."""
        seeds, candidate = result.trials, result.candidate.description
        return {
            **tell(result, self.ground.problem.objective, self.ground.confidence),
            "confirmed": verdict.confirmed,
            "test": verdict.test,
            "p": verdict.p,
            "alpha": alpha,
            "rate": result.rate,
            "margin": result.margin(self.ground.rate),
            "incumbent_loss": self.trials.loss(self.ground.incumbent, seeds),
            "loss": self.trials.loss(candidate, seeds),
        }

    def _outcome(self) -> Outcome:
        return Outcome(self.ground, self.trials, self._judged(), self.waiting, self.attempts)


def _mean(standing: Standing) -> float:
    assert standing.gain is not None
    return standing.gain.mean
