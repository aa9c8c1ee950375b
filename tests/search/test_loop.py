"""The loop where timing matters: real trials behind executors that report in awkward ways."""

import pytest

from search.executors.base import Exit
from search.executors.cpus import cpu_model
from search.executors.local import LocalConfig, LocalExecutor
from search.exploration import load
from search.loop import Loop, SearchFailed
from search.session import begin, problem_of
from search.study import Study
from search.trainers import describe_baseline
from tests.search.toy import Toy, exploration


class Together(LocalExecutor):
    """Reports the ends of trials only when all of them have ended."""

    _held: list[Exit] = []  # noqa: RUF012  # replaced, never changed

    def wait(self, timeout):
        self._held = [*self._held, *super().wait(timeout)]
        if len(self.free()) < len(self.slots):
            return []
        held, self._held = self._held, []
        return held


@pytest.fixture
def loop(tmp_path):
    opened: list[LocalExecutor | Study] = []

    def make(executor=LocalExecutor, **changes):
        asked, _ = load(exploration(tmp_path, **changes))
        study = Study.open(tmp_path / "study.db", "toy")
        describer = asked.trainer.describer()
        baseline = describe_baseline(describer, asked.baseline)
        begin(study, asked, baseline, None)
        assert isinstance(asked.executor, LocalConfig)
        running = executor(asked.executor, "toy")
        opened.extend((running, study))
        return Loop(
            asked, problem_of(asked, baseline, describer, running), study, running, tmp_path
        )

    yield make
    for thing in opened:
        thing.close()


def test_trials_that_end_together_are_all_recorded_before_the_search_fails(loop):
    failing = loop(Together, baseline={"mode": "crash"})
    with pytest.raises(SearchFailed, match="the baseline failed"):
        failing.run()
    assert [trial.state for trial in failing.study.history] == ["failed", "failed"]


def test_a_seed_that_does_not_reach_the_model_ends_the_search(loop):  # behaviours 6
    running = loop(baseline={"mode": "seedless"})
    with pytest.raises(SearchFailed, match="seed does not reach the model") as failed:
        running.run()
    assert "seeds: {screen: 1, max: 1, confirm: 0}" in str(failed.value)
    assert not running.study.history.decisions  # before anything was decided by it


def test_a_cap_in_seconds_compares_only_trials_that_ran_as_many_at_a_time(loop):  # behaviours 12
    capped = loop(budget={"max_seconds": 60.0})
    model = cpu_model().replace(",", "")
    assert model
    assert capped.problem.clock == f"cpu ({model}), 1 threads, 2 at a time"
    assert not loop(budget={"max_steps": 60}).problem.clock


def test_trials_that_end_together_change_no_decision(loop):
    assert "stopped after 2 accepted steps" in loop(Together).run()


class Counting(LocalExecutor):
    """Notes how many trials ran before each launch."""

    beside: list[int] = []  # noqa: RUF012  # replaced, never changed

    def launch(self, job, slot):
        self.beside = [*self.beside, len(self.slots) - len(self.free())]
        return super().launch(job, slot)


@pytest.mark.parametrize("settles", [True, False])
def test_the_first_trial_starts_alone_where_it_settles_something_for_all(
    loop, monkeypatch, settles
):
    monkeypatch.setattr(Toy, "settles", settles)
    asked = loop(Counting, baseline={"seconds": 0.3})
    asked.max_trials = 3
    begun = []
    learn = asked._learn

    def noted(*told):
        begun.append(len(asked.executor.beside))
        learn(*told)

    monkeypatch.setattr(asked, "_learn", noted)
    asked.run()
    assert max(asked.executor.beside) == 1  # two at a time
    assert begun[0] == (1 if settles else 2)  # launched by the time the first start was read
