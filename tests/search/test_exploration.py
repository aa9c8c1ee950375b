import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.exploration import load
from search.schema import SCHEMA_FILE, schema_text
from spec.errors import InputError
from tests.search import toy
from tests.search.test_run import run
from tests.search.toy import exploration

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    "file", sorted((ROOT / "explorations").glob("*.yaml")), ids=lambda f: f.name
)
def test_every_exploration_we_ship_is_valid(file):
    found, _ = load(file)
    assert found.study == file.stem
    assert load(file, [f"study={found.study}"])[0] == found


def test_a_change_reaches_baseline_and_rules(tmp_path):
    file = exploration(tmp_path)
    changes = [
        "baseline.width=6",
        "space.width.max=8",
        "space.rate={scale: 3}",
        "strategy.max_rounds=7",
    ]
    found, _ = load(file, [*changes, "objective.limits.parameters=9e3"])
    assert found.baseline == {"width": 6}
    told = found.full()
    assert told["space"]["width"] == {"step": 2, "min": 2, "max": 8}
    assert told["space"]["rate"]["scale"] == 3
    assert told["strategy"]["max_rounds"] == 7
    assert found.objective.limits == {"parameters": 9000.0}


def test_the_editors_schema_is_the_one_the_code_has():
    tell = "from search.schema import schema_text; print(schema_text(), end='')"  # without toys
    own = subprocess.run(
        [sys.executable, "-c", tell], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert SCHEMA_FILE.read_text(encoding="utf-8") == own.stdout, (
        "python -m search.schema writes it"
    )


def test_the_schema_accepts_what_we_ship_and_knows_every_rule():
    schema = json.loads(schema_text())
    assert {"string", "object"} == {
        kind["type"] for kind in schema["properties"]["baseline"]["anyOf"]
    }
    assert "study" not in schema["required"]
    text = json.dumps(schema["properties"]["space"])
    assert all(word in text for word in ("step", "scale", "choices", "duplicate"))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"spacee": {}}, "did you mean 'space'"),
    "an unknown rule": ({"space": {"width": {"stepp": 1}}}, "did you mean 'step'"),
    "a path that is none": ({"space": {"a..b": {"step": 1}}}, "not a path"),
    "an empty space": ({"space": {}}, "empty space"),
    "a misspelt strategy": ({"strategy": "gredy"}, "did you mean 'greedy'"),
    "a misspelt cost": ({"objective": {"cost": "parameter"}}, "did you mean 'parameters'"),
    "a misspelt limit": ({"objective": {"limits": {"flop": 1}}}, "did you mean 'flops'"),
    "a wrong type": ({"seeds": {"max": "five"}}, "should be an integer"),
    "a target that is missing": ({"objective": {"gain": "time_to_target"}}, "needs a target"),
    "more to confirm than allowed": ({"seeds": {"max": 2, "confirm": 3}}, "raise max"),
    "a name with a slash": ({"study": "../x"}, "cannot name a folder"),
    "a missing baseline": ({"baseline": "none.yaml"}, "no such file"),
    "a path the baseline lacks": ({"space": {"widht": {"step": 1}}}, "did you mean 'width'"),
    "a rule on the wrong value": ({"space": {"mode": {"step": 1}}}, "cannot move"),
    "a baseline the trainer refuses": ({"baseline": {"width": 7}}, "multiple of 7"),
    "a limit no candidate meets": (
        {"objective": {"limits": {"parameters": 10}}},
        "raise the limit",
    ),
}


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_input_is_one_message_and_status_2(tmp_path, bad):
    changes, said = BAD[bad]
    file = exploration(tmp_path, **changes)
    done = run(file, tmp_path, check=2)
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("*/trials"))


def test_problems_of_the_file_carry_line_and_column(tmp_path):
    file = exploration(tmp_path)
    text = file.read_text().replace("step: 2", "stepp: 2")
    file.write_text(text)
    line = 1 + text.splitlines().index("  width:")
    assert f"toy.yaml:{line}:3: space.width" in run(file, tmp_path, check=2).stderr


def test_a_refused_baseline_is_told_at_its_place_in_the_file_it_was_written_in(tmp_path):
    (tmp_path / "base.yaml").write_text("rate: 2.0\nwidht: 3\n")
    done = run(exploration(tmp_path, baseline="base.yaml"), tmp_path, check=2)
    assert "base.yaml:2:1: baseline.widht: the trainer refuses it" in done.stderr
    (tmp_path / "good.yaml").write_text("rate: 2.0\n")
    file = exploration(tmp_path, baseline="base.yaml")
    found, _ = load(file, ["baseline=good.yaml", "baseline.width=6"])
    assert found.baseline == {"rate": 2.0, "width": 6}


def test_broken_yaml_and_missing_files_are_told(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2")
    assert "bad.yaml:2" in run(tmp_path / "bad.yaml", tmp_path, check=2).stderr
    assert "no such file" in run(tmp_path / "none.yaml", tmp_path, check=2).stderr
    (tmp_path / "list.yaml").write_text("- 1")
    assert "is a mapping" in run(tmp_path / "list.yaml", tmp_path, check=2).stderr


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    done = run(exploration(tmp_path), tmp_path / "file", check=2)
    assert "--out" in done.stderr


def test_a_change_reaches_into_the_rule_of_a_path_that_holds_dots_and_brackets_itself(tmp_path):
    space = {"layers[*].kind": {"choices": [1, 2]}, "layers": {"duplicate": "each"}}
    file = exploration(tmp_path, space=space)
    changes = ["space.layers[*].kind.choices[1]=7", "space.layers.max=4"]
    found, _ = load(file, changes)
    told = {path: rule.full() for path, rule in found.space.items()}
    assert told["layers[*].kind"]["choices"] == [1, 7]
    assert told["layers"]["max"] == 4
    with pytest.raises(InputError, match=r"--set space.*choices\[2\]: index 2 is past the 2 items"):
        load(file, ["space.layers[*].kind.choices[2]=7"])


def test_a_change_that_leads_nowhere_is_told(tmp_path):
    with pytest.raises(InputError, match="no '='"):
        load(exploration(tmp_path), ["study"])
    with pytest.raises(InputError, match=r"--set .*study"):
        load(exploration(tmp_path), ["study.x=1"])
    assert toy.Toy.kind == "toy"
