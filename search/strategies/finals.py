"""How searches that draw configs end: the best meet the incumbent on fresh seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from search.history import CONFIRM, Decision, Description, History, Purpose, Trial
from search.moves import Edit
from search.strategies.base import Candidate, Problem, Proposal, Run
from search.strategies.draws import Draw
from search.strategies.explored import Explored
from search.strategies.neighbourhood import over_limit, over_measured_limit
from search.strategies.standing import Bench, Standing, tell
from search.strategies.verdict import cost_words, gain_words, judge, not_confirmed, reaches
from spec.config import Data
from spec.words import counted

if TYPE_CHECKING:
    from search.strategies.sampling import Sampling

TOLD = 200
"""Most configs that a decision tells in full, best first."""


@dataclass(frozen=True)
class Finals:
    """What becomes of what was explored.

    Attributes:
        options: How many finalists there are, at which level, and who ranks them.
        explored: All that was tried for the sake of looking.
    """

    options: Sampling
    explored: Explored

    @property
    def _problem(self) -> Problem:
        return self.explored.problem

    @property
    def _history(self) -> History:
        return self.explored.history

    @cached_property
    def _ending(self) -> Data:
        return self.options.ending(self.explored)

    @property
    def _screen(self) -> range:
        """The seeds that every config was explored on first."""
        first = self._problem.seeds.first
        return range(first, first + self._problem.seeds.screen)

    @cached_property
    def incumbent(self) -> Description:
        return self._problem.incumbent(self._history)

    def propose(self, reason: str) -> Proposal:
        """Confirm the best and accept one, or stop."""
        accepted = self._history.accepted
        if accepted and accepted[-1].detail.get("latest") == self.explored.latest:
            words = f"stopped after {self._trials}: {reason}{self.options.remark(self.explored)}"
            return Decision("stop", self._history.round, words, detail=self._ending)
        finalists = self._finalists()
        if not finalists:
            found = self.options.found_words(self.explored, self._ending)
            return self._stop(reason, found, [], [])
        fresh, purpose = self._fresh(), Purpose(self._history.round, CONFIRM)
        asked = [
            drawn.request(self._problem, purpose, seed)
            for drawn in (*finalists, Draw(self.incumbent, None))
            for seed in fresh
        ]
        missing = tuple(request for request in asked if self._history.pending(request))
        begun = [trial for request in asked if (trial := self._history.find(request)) is not None]
        running = sum(trial.state == "running" for trial in begun)
        if missing or running:
            return Run(missing, len(missing) + running)
        return self._judge(finalists, begun, reason)

    def _finalists(self) -> list[Draw]:
        """The best configs that keep the limits, the measured ones too, and are not in place."""
        taken = {self.incumbent.config_id}
        best = []
        for config_id in self.options.ranked(self.explored):
            description, edit = self.explored.configs[config_id], self.explored.edits[config_id]
            fine = config_id not in taken and self.keeps_limits(config_id)
            if edit is not None and fine:
                best.append(Draw(description, Edit(**edit)))
            if len(best) == self.options.finalists:
                break
        return best

    def keeps_limits(self, config_id: str) -> bool:
        """Whether no cost is over its limit, known before training or measured."""
        config = self.explored.configs[config_id]
        trials = self.explored.rows.get(config_id, {}).values()
        return not over_limit(self._problem, config) and not over_measured_limit(
            self._problem, trials
        )

    def _fresh(self) -> range:
        first = self._problem.seeds.first + 1000 * self._history.round + 500
        return range(first, first + self._problem.seeds.confirm)

    def _judge(self, finalists: Sequence[Draw], found: Sequence[Trial], reason: str) -> Decision:
        """Accept the best of those that are significantly better on fresh seeds."""
        measured = {config_id: dict(row) for config_id, row in self.explored.rows.items()}
        for trial in found:
            measured.setdefault(trial.config_id, {})[trial.seed] = trial
        bench = Bench(self._problem.objective, self.incumbent, measured)
        seeds = self._fresh() if found else self._screen
        noise = bench.noise()
        verdicts: list[Data] = []
        for drawn in finalists:
            assert drawn.edit is not None
            candidate = Candidate(drawn.edit, drawn.description)
            if found:
                verdicts.append(self._confirmed(bench.confirming(candidate, seeds)))
            else:
                verdicts.append(self._unconfirmed(bench.stand(candidate, seeds, noise)))
        better = [verdict for verdict in verdicts if verdict["confirmed"]]
        if not better:
            nothing = "nothing better was confirmed" if found else "nothing was better by its mean"
            return self._stop(reason, nothing, verdicts, [bench])
        chosen = better[0]  # as ranked, when nothing new was learnt since
        if found:
            chosen = max(better, key=lambda verdict: (verdict["gain"]["mean"], verdict["key"]))
        verdicts.sort(key=lambda verdict: verdict is chosen)  # the last one is the one taken
        return self._accept(chosen, verdicts, bench)

    def _confirmed(self, result: Standing) -> Data:
        share = self.options.alpha / self.options.finalists
        judged = judge(result, self._problem, share)
        return {
            **tell(result, self._problem.objective, 1.0 - self.options.alpha),
            "confirmed": judged.confirmed,
            "test": judged.test,
            "p": judged.p,
            "alpha": share,
        }

    def _unconfirmed(self, result: Standing) -> Data:
        """Of the trials that chose it: ``seeds.confirm`` is 0, so the mean decides."""
        told = tell(result, self._problem.objective, 1.0 - self.options.alpha)
        sure = result.gain is not None and result.gain.mean > 0
        return {**told, "confirmed": sure, "test": "mean", "p": None, "alpha": None}

    def _accept(self, chosen: Data, verdicts: list[Data], bench: Bench) -> Decision:
        config_id = chosen["config_id"]
        drawn = self.explored.configs[config_id]
        own = bench.measured.get(self.incumbent.config_id, {})
        numbers = [own[seed].number for seed in chosen["seeds"] if seed in own]
        tried = len(self.explored.configs.keys() - {self.incumbent.config_id})
        best = "best" if chosen["alpha"] is None else "best confirmed"
        words = f"accepted {chosen['key']}: {best} of {counted(tried, 'config')}"
        if timed := reaches(chosen, self._problem, "fresh seed" if chosen["alpha"] else "seed"):
            words += f", {timed}"
        elif chosen.get("avg_loss") is not None:
            words += f", val_loss {chosen['avg_loss']:.4f} on {len(chosen['seeds'])} seeds"
        words += f", {gain_words(self._problem, chosen['gain'])}"
        if chosen["p"] is not None:
            words += f", p = {chosen['p']:.2g}"
        if chosen.get("cost"):
            words += f", {cost_words(self._problem, chosen['cost'])}"
        detail = self._detail(verdicts, [bench], chosen) | {
            "chosen": chosen["key"],
            "rate": None,
            "incumbent": {"config_id": self.incumbent.config_id, "trials": numbers},
        }
        return Decision("accept", self._history.round, words, drawn.config, config_id, detail)

    @property
    def _trials(self) -> str:
        """How many trials it took in words, without probes and interrupted ones."""
        trials = [t for t in self._history if not t.probe and not t.interrupted]
        return counted(len(trials), "trial")

    def _stop(
        self, reason: str, found: str, verdicts: list[Data], bench: Sequence[Bench]
    ) -> Decision:
        words = f"stopped after {self._trials} ({reason}): {found}"
        words += self.options.remark(self.explored)
        detail = self._detail(verdicts, bench) | self._ending
        return Decision("stop", self._history.round, words, detail=detail)

    def _detail(
        self, verdicts: list[Data], benches: Sequence[Bench], chosen: Data | None = None
    ) -> Data:
        """Every config against the incumbent, as far as a person reads on."""
        noises = [bench.noise() for bench in benches]
        noise = noises[0] if noises else None
        return {
            "latest": self.explored.latest,
            "candidates": [
                {**told, "why": self._why(told, verdicts, chosen)} for told in self._told()
            ],
            "attempts": verdicts,
            "alpha": self.options.alpha,
            "noise": noise
            and {"deviation": noise.deviation, "freedom": noise.freedom, "paired": noise.paired},
        }

    def _why(self, told: Data, verdicts: Sequence[Data], chosen: Data | None) -> str:
        """Why a config is taken, or is not."""
        name = told["config_id"]
        verdict = next((v for v in verdicts if v["config_id"] == name), None)
        if chosen is not None and chosen["config_id"] == name:
            return "taken"
        if verdict is None:
            trials = self.explored.rows[name].values()
            over = over_measured_limit(self._problem, trials)
            done = "confirmed" if self._problem.seeds.confirm else "compared"
            return over or f"not among the best {self.options.finalists}, which are {done}"
        if not verdict["confirmed"]:
            return not_confirmed(verdict)
        assert chosen is not None  # else this one would be
        if verdict["alpha"] is None:
            return f"better as well, but {chosen['key']} ranked first"
        return f"confirmed as well, but {chosen['key']} gained more"

    def _told(self) -> Iterator[dict[str, Any]]:
        bench = Bench(self._problem.objective, self.incumbent, self.explored.rows)
        noise, confidence = bench.noise(), 1.0 - self.options.alpha
        for config_id in self.options.ranked(self.explored)[:TOLD]:
            edit = self.explored.edits[config_id]
            if edit is None or config_id == self.incumbent.config_id:
                continue
            candidate = Candidate(Edit(**edit), self.explored.configs[config_id])
            standing = bench.stand(candidate, self._screen, noise)
            if standing.gain is not None:
                yield tell(standing, self._problem.objective, confidence)
