import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.records import End, Eval, Reader, Record, RecordError, Start, Writer

RECORDS: list[Record] = [
    Start(parameters=10, seed=3),
    Eval(step=1, tokens=5, train_seconds=0.5, val_loss=2.0),
    Eval(step=2, train_seconds=1.0, val_loss=math.inf),
    End(status="completed", best_val_loss=2.0, best_step=1),
]


def test_what_is_written_is_read_and_is_json(tmp_path):
    with Writer(tmp_path / "m.jsonl") as writer:
        for record in RECORDS:
            writer.append(record)
    assert Reader(tmp_path / "m.jsonl").read() == RECORDS
    for line in (tmp_path / "m.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@given(st.lists(st.integers(1, 40), max_size=30))
def test_a_reader_sees_every_record_once_however_the_bytes_arrive(tmp_path_factory, cuts):
    whole = "".join(record.model_dump_json(exclude_none=True) + "\n" for record in RECORDS).encode()
    file = tmp_path_factory.mktemp("cut") / "m.jsonl"
    reader, seen, at = Reader(file), [], 0
    assert reader.read() == []
    for size in [*cuts, len(whole)]:
        with file.open("ab") as stream:
            stream.write(whole[at : at + size])
        at += size
        seen += reader.read()
    assert seen == RECORDS


def test_a_torn_last_line_waits_but_a_torn_middle_is_an_error(tmp_path):
    file = tmp_path / "m.jsonl"
    file.write_text('{"event": "eval", "step": 1, "train_sec')
    reader = Reader(file)
    assert reader.read() == []
    with file.open("a") as stream:
        stream.write('\n{"event": "end", "status": "completed"}\n')
    with pytest.raises(RecordError, match=r"m\.jsonl:1: not a record"):
        reader.read()


def test_unknown_events_and_fields_are_ignored_and_missing_ones_refused(tmp_path):
    file = tmp_path / "m.jsonl"
    file.write_text('{"event": "weather"}\n\n{"event": "end", "status": "stopped", "new": 1}\n')
    assert Reader(file).read() == [End(status="stopped")]
    file.write_text('{"event": "eval", "step": 1}\n')
    with pytest.raises(RecordError, match="train_seconds"):
        Reader(file).read()
    file.write_text('{"step": 1}\n')
    with pytest.raises(RecordError, match="event"):
        Reader(file).read()


def test_bare_nan_of_other_writers_is_read(tmp_path):
    file = tmp_path / "m.jsonl"
    file.write_text('{"event": "eval", "step": 1, "train_seconds": 1, "val_loss": NaN}\n')
    (point,) = Reader(file).read()
    assert isinstance(point, Eval)
    assert math.isnan(point.val_loss)
