"""The describe process: real processes that answer, refuse and die."""

import sys

import pytest

from search.history import Description
from search.strategies.base import Rejected
from search.trainers.builtin import PipedDescriber
from spec.errors import InputError

ANSWERS = """
import json, os, sys
for line in sys.stdin:
    config = json.loads(line)["config"]
    if config.get("die"):
        os.kill(os.getpid(), 9)
    if config.get("bad"):
        told = {"error": {"problems": [{"path": "a.b", "message": "wrong"}] * 2}}
    else:
        inventory = {"parameters": 1, "pid": os.getpid()}
        told = {"config": config, "id": "x", "inventory": inventory, "data": {"fingerprint": "f"}}
    print(json.dumps(told), flush=True)
"""


@pytest.fixture
def describer():
    with PipedDescriber((sys.executable, "-c", ANSWERS)) as opened:
        yield opened


def test_a_config_is_asked_for_once(describer):
    first, again = describer([{"a": 1}, {"a": 1}])
    assert first is again
    assert isinstance(first, Description)
    assert describer.fingerprint == "f"


def test_a_refusal_keeps_its_places(describer):
    (refused,) = describer([{"bad": True}])
    assert isinstance(refused, Rejected)
    assert refused.message == "a.b: wrong (and 1 more like it)"
    assert [problem.path for problem in refused.problems] == ["a.b", "a.b"]


def test_a_config_that_kills_the_process_is_refused_and_the_next_is_described(describer):
    good, deadly, after = describer([{"a": 1}, {"die": True}, {"a": 2}])
    assert isinstance(deadly, Rejected)
    assert "-9" in deadly.message
    assert good.inventory["pid"] != after.inventory["pid"]


def test_a_process_that_answers_nothing_is_an_error():
    dead = PipedDescriber((sys.executable, "-c", "raise SystemExit(3)"))
    with dead, pytest.raises(InputError, match="status 3"):
        dead([{}])
