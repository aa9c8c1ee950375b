"""The loop where timing matters: real trials behind executors that report in awkward ways."""

import pytest

from search.executors.base import Exit
from search.executors.local import LocalConfig, LocalExecutor
from search.exploration import load
from search.loop import Loop, SearchFailed
from search.session import begin, problem_of
from search.study import Study
from search.trainers import describe_baseline
from tests.search.toy import exploration


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


def test_trials_that_end_together_change_no_decision(loop):
    assert "stopped after 2 accepted steps" in loop(Together).run()
