"""What scripts write becomes curves: every reader, alone and together, on files as they grow."""

import math
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.executors.base import Exit, Slot
from search.history import Description, Purpose, Request
from search.objective import Budget
from search.trainers.base import NothingRead
from search.trainers.curve import ForeignRecords
from search.trainers.merge import Stream
from search.trainers.readers import readers, tensorboard
from search.trainers.readers.base import FIELDS, number
from search.trainers.readers.lines import Lines
from spec.errors import ConfigError, InputError
from spec.records import Reader, RecordError

DONE = Exit(0, 0, None, "exited", 1.0)
CRASHED = Exit(0, 1, None, "exited", 1.0)
SLOT = Slot("cuda:1", "cuda", 3, {}, packed=False)
REQUEST = Request(Description({}, "x", {}), 5, Budget(), Purpose(0, "screen"))
LOSS = r"step (?P<step>\d+).*loss (?P<val_loss>\S+)"


def opened(folder, *configs, kept=Budget(), phase="screen"):  # noqa: B008  a frozen value
    """The records of a trial read by these readers."""
    streams = []
    for options in configs:
        config = readers.parse(options)
        streams.append(Stream(config, config.open(folder / (config.place() or "output.log"))))
    request = replace(REQUEST, purpose=Purpose(0, phase))
    return ForeignRecords(streams, request, folder, SLOT, kept)


def write(folder, text, name="output.log"):
    with (folder / name).open("ab") as stream:
        stream.write(text if isinstance(text, bytes) else text.encode())


def points(records):
    return [(r.step, r.val_loss) for r in records if r.event == "eval"]


def test_lines_are_read_as_they_come_and_half_a_line_waits(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    assert trial.read() == []
    write(tmp_path, "step 1 loss 3.0\nstep 2 lo")
    assert points(trial.read()) == [(1, 3.0)]
    write(tmp_path, "ss 2.0\nstep 3 loss 1.0")
    assert points(trial.read()) == [(2, 2.0)]
    assert points(trial.finish(DONE)) == [(3, 1.0)]


def test_colours_carriage_returns_and_invalid_utf8_are_no_hindrance(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    write(tmp_path, b"\xff\xfe\n10%\r90%\r\x1b[1mstep 1\x1b[0m loss \x1b[32m2.5\x1b[0m\r\n")
    assert points(trial.finish(DONE)) == [(1, 2.5)]


@given(
    pieces=st.lists(st.sampled_from(["a", "é", "\n", "\r", "\x1b[1m", "1"]), max_size=30),
    size=st.integers(1, 7),
)
def test_lines_do_not_depend_on_when_they_are_looked_at(tmp_path_factory, pieces, size):
    text = "".join(pieces).encode()
    file = tmp_path_factory.mktemp("lines") / "log"
    file.write_bytes(b"")
    growing = Lines(file)
    seen: list[str] = []
    for start in range(0, len(text), size):
        write(file.parent, text[start : start + size], "log")
        seen += growing.read()
    seen += growing.read(last=True)
    assert seen == list(Lines(file).read(last=True))


def test_a_million_lines_are_read_in_pieces(tmp_path):
    write(tmp_path, b"a line of a million\n" * 1_000_000 + b"step 1 loss 2.0\n")
    trial = opened(tmp_path, {"regex": LOSS})
    assert points(trial.finish(DONE)) == [(1, 2.0)]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    write(tmp_path, b"x" * (10 << 20))
    lines = Lines(tmp_path / "output.log")
    assert sum(map(len, lines.read())) + len(lines._rest) == 10 << 20
    assert len(lines._rest) <= 5 << 20


def test_what_a_line_without_loss_tells_goes_with_the_next_evaluation(tmp_path):
    trial = opened(
        tmp_path,
        {
            "regex": [r"val (?P<val_loss>\S+)", r"at (?P<step>\d+) (?P<train_seconds>\S+)ms"],
            "scale": {"train_seconds": 0.001},
        },
    )
    write(tmp_path, "at 1 500ms\nat 2 1500ms\nval 3.0\nat 3 2500ms\nval 2.0\n")
    records = trial.finish(DONE)
    assert [(r.step, r.train_seconds) for r in records if r.event == "eval"] == [(2, 1.5), (3, 2.5)]
    assert records[0].clock == "training"


STEPS = {"regex": r"at (?P<step>\d+) (?P<train_seconds>\S+)s (?P<step_ms>\S+)ms"}


def test_seconds_that_another_reader_tells_end_a_trial_before_its_first_evaluation(tmp_path):
    trial = opened(tmp_path, STEPS, {"regex": LOSS}, kept=Budget(max_seconds=2))
    write(tmp_path, "at 1 1.0s 9ms\n")
    trial.read()
    assert not trial.over
    write(tmp_path, "at 2 2.5s 11ms\n")
    trial.read()
    assert trial.over


def test_a_probe_needs_a_step_time_and_no_evaluation(tmp_path):
    write(tmp_path, "at 1 1.0s 9ms\nat 2 2.0s 11ms\n")
    (_, end) = opened(tmp_path, STEPS, {"regex": LOSS}, phase="probe").finish(DONE)
    assert (end.status, end.step_ms) == ("completed", 10.0)
    with pytest.raises(NothingRead, match="no line matches"):
        opened(tmp_path, STEPS, {"regex": LOSS}).finish(DONE)
    with pytest.raises(NothingRead, match="no line matches"):
        opened(tmp_path, {"regex": LOSS}, phase="probe").finish(DONE)


def test_without_a_printed_time_the_arrival_is_taken_and_said_so(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    time.sleep(0.05)
    write(tmp_path, "step 1 loss 3.0\n")
    start, point = trial.read()
    assert start.clock == "arrival"
    assert 0.05 <= point.train_seconds < 60


def test_without_a_step_evaluations_are_counted(tmp_path):
    trial = opened(tmp_path, {"regex": r"loss (?P<val_loss>\S+)"})
    write(tmp_path, "loss 3\nloss 2\n")
    assert points(trial.read()) == [(1, 3.0), (2, 2.0)]
    write(tmp_path, "loss 1\n")
    assert points(trial.read()) == [(3, 1.0)]


def test_nan_is_a_measurement_of_a_diverged_trial(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    write(tmp_path, "step 1 loss 3\nstep 2 loss nan\n")
    records = trial.read()  # behaviours 14
    assert trial.over
    records += trial.finish(CRASHED)
    assert math.isnan(records[2].val_loss)
    assert (records[-1].event, records[-1].status) == ("end", "diverged")
    assert records[-1].best_val_loss == 3


def test_a_word_where_a_number_should_be_is_shown_with_its_line(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    write(tmp_path, "step 1 loss unknown\n")
    with pytest.raises(RecordError, match=r"'unknown' is no number in 'step 1 loss unknown'"):
        trial.read()


def test_a_crash_has_no_end_but_keeps_what_was_read(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    write(tmp_path, "step 1 loss 3\n")
    assert [r.event for r in trial.finish(CRASHED)] == ["start", "eval"]  # behaviours 20


def test_a_reader_that_never_matched_is_an_error_with_pattern_and_output(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    write(tmp_path, "first words\nlast words\n")
    with pytest.raises(NothingRead) as error:
        trial.finish(DONE)
    for part in (LOSS, "last words", "output.log", "optional: true"):
        assert part in str(error.value)


def test_one_silent_pattern_among_several_is_an_error_unless_it_is_optional(tmp_path):
    size = {"regex": r"size (?P<parameters>\d+)"}
    write(tmp_path, "step 1 loss 2\n")
    with pytest.raises(NothingRead, match="size"):
        opened(tmp_path, {"regex": LOSS}, size).finish(DONE)
    ended = opened(tmp_path, {"regex": LOSS}, {**size, "optional": True}).finish(DONE)
    assert ended[-1].status == "completed"


def test_everything_read_is_kept_as_records_of_the_protocol(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS})
    write(tmp_path, "step 1 loss 3\n")
    records = trial.read()
    write(tmp_path, "step 2 loss inf\nstep 3 loss 1\n")
    records += trial.finish(DONE)
    assert Reader(tmp_path / "metrics.jsonl").read() == records


def test_parameters_and_step_times_come_from_the_output(tmp_path):
    trial = opened(
        tmp_path,
        {
            "regex": [
                LOSS,
                r"parameters: (?P<parameters>\S+)",
                r"(?P<step_ms>\S+)ms$",
                r"peak (?P<peak_memory_bytes>\d+) MiB",
            ],
            "scale": {"peak_memory_bytes": 2**20},
        },
    )
    write(tmp_path, "parameters: 10.65M\n3ms\n9ms\n5ms\nstep 1 loss 3\npeak 7 MiB\n")
    start, _, end = trial.finish(DONE)
    assert (start.parameters, start.inventory) == (10_650_000, {"parameters": 10_650_000})
    assert (end.step_ms, end.peak_memory_bytes) == (5.0, 7 * 2**20)


def test_json_lines_are_read_by_keys_and_ways(tmp_path):
    keys = {"step": "iter", "val_loss": "eval/loss", "train_loss": "train.loss"}
    trial = opened(tmp_path, {"jsonl": "log.jsonl", "keys": keys})
    write(tmp_path, '{"iter": 1, "train": {"loss": 4}}\n{"iter": 2, "eval/loss": 3}\n', "log.jsonl")
    (_, point) = trial.read()
    assert (point.step, point.val_loss, point.train_loss) == (2, 3.0, 4.0)


def test_json_among_the_output_is_found_and_the_rest_ignored(tmp_path):
    trial = opened(tmp_path, {"jsonl": "output", "keys": {"val_loss": "loss"}})
    write(tmp_path, '{"loss": 3.5}\n{not json}\nwords\n{"loss": 2.5}\n')
    assert points(trial.finish(DONE))[1] == (2, 2.5)


def test_csv_rows_are_read_under_their_header_and_empty_cells_tell_nothing(tmp_path):
    columns = {"step": "step", "val_loss": "val loss", "train_seconds": "minutes"}
    config = {
        "csv": "log.csv",
        "columns": columns,
        "scale": {"train_seconds": 60},
        "separator": ";",
    }
    trial = opened(tmp_path, config)
    write(tmp_path, 'step;val loss;"minutes"\n1;;0.5\n2;3.5;1.', "log.csv")
    assert trial.read() == []
    write(tmp_path, "5\n", "log.csv")
    (_, point) = trial.read()
    assert (point.step, point.val_loss, point.train_seconds) == (2, 3.5, 90.0)


def test_a_missing_column_is_named_with_the_nearest(tmp_path):
    trial = opened(tmp_path, {"csv": "log.csv", "columns": {"val_loss": "val_loss"}})
    write(tmp_path, "step,val-loss\n1,2\n", "log.csv")
    with pytest.raises(RecordError, match="did you mean 'val-loss'"):
        trial.read()


@pytest.mark.parametrize(
    "how",
    [
        {"pattern": r"(?P<val_loss>[\d.]+), (?P<step>\d+), (?P<parameters>\d+)"},
        {"columns": ["val_loss", "step", "parameters"]},
    ],
)
def test_a_final_file_is_read_at_the_end(tmp_path, how):
    trial = opened(tmp_path, {"file": "best.txt", **how})
    write(tmp_path, "1.5, 30, 4000, more", "best.txt")
    assert trial.read() == []
    start, point, end = trial.finish(DONE)
    assert (point.step, point.val_loss) == (30, 1.5)
    assert (start.parameters, end.best_step) == (4000, 30)


def test_tensorboard_scalars_are_read_as_they_are_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    config = {"tensorboard": "runs", "tags": {"val_loss": "eval/loss", "train_loss": "train/loss"}}
    trial = opened(tmp_path, config)
    assert trial.read() == []
    writer = EventFileWriter(str(tmp_path / "runs" / "deep"))
    now = time.time()
    for step, tag, value in [
        (1, "train/loss", 3.0),
        (2, "train/loss", 2.5),
        (2, "eval/loss", 2.0),
        (2, "else", 0.0),
        (4, "eval/loss", 1.0),
    ]:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(step=step, wall_time=now + step, summary=summary))
    writer.close()
    records = [r for r in trial.finish(DONE) if r.event == "eval"]
    assert [(r.step, r.val_loss, r.train_loss) for r in records] == [(2, 2.0, 2.5), (4, 1.0, None)]
    assert records[1].train_seconds - records[0].train_seconds == pytest.approx(2.0, abs=0.01)


def test_without_tensorboard_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=re.escape("pip install 'espalier[tensorboard]'")):
        readers.parse({"tensorboard": ".", "tags": {"val_loss": "x"}}).require()


def test_tensorboard_is_not_imported_before_it_is_used():
    import subprocess

    code = "import search.trainers, sys; sys.exit('tensorboard' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_two_readers_are_joined_in_step_order(tmp_path):
    time_of = {"csv": "time.csv", "columns": {"step": "step", "train_seconds": "s"}}
    trial = opened(tmp_path, {"regex": LOSS}, time_of)
    write(tmp_path, "step 2 loss 3\nstep 4 loss 2\n")
    write(tmp_path, "step,s\n1,10\n2,20\n3,30\n", "time.csv")
    told = [(r.step, r.train_seconds) for r in trial.read() if r.event == "eval"]
    assert told == [(2, 20.0)]  # the time of step 4 has not come yet
    write(tmp_path, "4,40\n5,50\n", "time.csv")
    told = [(r.step, r.train_seconds) for r in trial.finish(DONE) if r.event == "eval"]
    assert told == [(4, 40.0)]


@given(order=st.permutations(range(1, 7)), cut=st.integers(0, 6))
def test_a_curve_is_in_step_order_and_no_step_is_told_twice(tmp_path_factory, order, cut):
    folder = tmp_path_factory.mktemp("order")
    trial = opened(folder, {"regex": LOSS})
    write(folder, "".join(f"step {step} loss {step}\n" for step in order[:cut]))
    records = trial.read()
    write(folder, "".join(f"step {step} loss {step}\n" for step in order))
    told = [step for step, _ in points(records + trial.finish(DONE))]
    assert told == sorted(set(told))


def test_a_trial_is_over_at_the_loss_the_script_does_not_know(tmp_path):
    trial = opened(tmp_path, {"regex": LOSS}, kept=Budget(stop_at_loss=2.0))
    write(tmp_path, "step 1 loss 3\n")
    trial.read()
    assert not trial.over
    write(tmp_path, "step 2 loss 2\nstep 3 loss 1\n")
    trial.read()
    assert trial.over
    end = trial.finish(Exit(0, None, 15, "stopped", 1.0))[-1]
    assert (end.status, end.best_val_loss) == ("target_reached", 2.0)


def test_a_trial_is_over_after_the_seconds_the_script_does_not_know(tmp_path):
    timed = {"regex": LOSS + r" after (?P<train_seconds>\S+)"}
    trial = opened(tmp_path, timed, kept=Budget(max_seconds=10))
    write(tmp_path, "step 1 loss 3 after 9\n")
    trial.read()
    assert not trial.over
    write(tmp_path, "step 2 loss 2 after 11\n")
    trial.read()
    assert trial.over
    assert trial.finish(Exit(0, None, 15, "stopped", 1.0))[-1].status == "completed"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10.65M", 10.65e6),
        ("1,234", 1234.0),
        ("-3.5e-4", -3.5e-4),
        ("124K", 124e3),
        ("inf", math.inf),
        ("'2.5'", 2.5),
        ("1_000", 1000.0),
        (".5", 0.5),
        ("3.", 3.0),
    ],
)
def test_numbers_are_read_as_people_print_them(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"regex": "("}, "is no regular expression"),
        ({"regex": "loss"}, "has no group"),
        ({"regex": r"(?P<val_los>\d)"}, "did you mean 'val_loss'"),
        ({"csv": "x", "columns": {"los": "x"}}, "unknown field 'los'"),
        ({"file": "x"}, "give one of them"),
        ({"jsonl": "x", "keys": {"val_loss": "x"}, "scale": {"step": 2}}, "not among its fields"),
        ({"exel": "x"}, "a metric reader needs a kind or"),
    ],
)
def test_a_reader_that_cannot_work_is_refused_with_the_way_out(options, told):
    from pydantic import ValidationError

    with pytest.raises((ConfigError, ValidationError), match=re.escape(told)):
        readers.parse(options)


def test_every_reader_is_told_by_a_key_and_knows_its_fields():
    assert {readers[kind].told_by for kind in readers} == set(readers)
    example = readers.parse({"regex": LOSS})
    assert example.fields() <= set(FIELDS)
