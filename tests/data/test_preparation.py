"""A prepared folder is whole, right, and made once."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.preparation import plan, prepare
from data.publish import alone, appearing
from spec import yaml
from spec.dataset import META, Meta, load_tokenizer, prepared_folder, read_meta, stamp
from spec.errors import ConfigError, InputError

TEXT = "".join(f"{number} bottles of beer on the wall\n" for number in range(2000))


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "song.txt"
    path.write_text(TEXT)
    return path


def _split(folder: Path, name: str) -> str:
    ids = np.memmap(folder / f"{name}.bin", dtype=read_meta(folder).numpy_dtype, mode="r")
    return load_tokenizer(folder).decode(ids.tolist())


@pytest.mark.parametrize("tokenizer", ["bytes", "chars", "bpe:300"])
def test_what_is_written_is_the_text(file, said, tokenizer):
    done = prepare(str(file), tokenizer, None, said)
    at = int(len(TEXT) * 0.9)
    assert _split(done.folder, "train") == TEXT[:at]
    assert _split(done.folder, "val") == TEXT[at:]
    assert said.done == len(TEXT)
    meta = done.meta
    assert (meta.train_bytes, meta.val_bytes) == (at, len(TEXT) - at)
    assert meta.bytes_per_token == meta.val_bytes / meta.val_tokens
    assert meta.vocab_size == load_tokenizer(done.folder).vocab_size


def test_a_uniform_model_has_the_bits_per_byte_of_its_alphabet(file, said):
    meta = prepare(str(file), "bytes", None, said).meta
    assert math.log(meta.vocab_size) / math.log(2) / meta.bytes_per_token == 8.0


def test_a_large_alphabet_takes_wider_numbers(tmp_path, said):
    text = "".join(chr(code) for code in range(0x20, 0x11000) if not 0xD800 <= code < 0xE000) * 2
    (tmp_path / "all.txt").write_bytes(text.encode())
    done = prepare(str(tmp_path / "all.txt"), "chars", None, said)
    assert done.meta.vocab_size > 1 << 16
    assert done.meta.dtype == "uint32"
    assert _split(done.folder, "train") + _split(done.folder, "val") == text


def test_a_character_of_the_validation_text_only_is_in_the_alphabet(tmp_path, said):
    (tmp_path / "x.txt").write_text("a" * 99 + "z")
    assert prepare(str(tmp_path / "x.txt"), "chars", None, said).meta.vocab_size == 2


def test_meta_reads_back_as_it_was_written(file, said):
    done = prepare(str(file), None, None, said)
    assert read_meta(done.folder) == done.meta
    assert Meta.read(yaml.parse(yaml.dump(done.meta.full()))) == done.meta
    assert yaml.read(done.folder / META).data["dataset"] == str(file)


def test_what_is_prepared_is_left_alone(file, said):
    first = prepare(str(file), None, None, said)
    inode = first.folder.stat().st_ino
    again = prepare(str(file), None, None, said)
    assert (first.new, again.new) == (True, False)
    assert first.folder.stat().st_ino == inode
    assert prepare(str(file), None, None, said, force=True).folder.stat().st_ino != inode


def test_a_changed_text_is_prepared_again(file, said):
    first = prepare(str(file), None, None, said)
    file.write_text(TEXT.upper())
    second = prepare(str(file), None, None, said)
    assert second.new
    assert second.folder == first.folder
    assert second.meta.fingerprint != first.meta.fingerprint
    assert _split(second.folder, "val").isupper()


def test_data_is_stale_once_its_text_changes_and_no_more_once_it_was_looked_at(file, said):
    meta = prepare(str(file), None, None, said).meta
    assert not meta.is_stale
    os.utime(file, ns=(0, 0))
    assert meta.is_stale
    again = prepare(str(file), None, None, said)
    assert not again.new
    assert not again.meta.is_stale
    assert read_meta(again.folder) == again.meta
    file.unlink()
    assert not again.meta.is_stale  # what is prepared is all there is


def test_the_standard_library_of_another_interpreter_is_another_text(said, monkeypatch):
    job = plan("pystdlib", None, None, said)
    assert not job.facts.changed()
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert job.facts.changed()


def test_a_stamp_changes_with_every_visible_file_of_a_folder(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_text("a")
    seen = {stamp(tmp_path)}
    (tmp_path / "inner" / "a.txt").write_text("ab")
    seen.add(stamp(tmp_path))
    (tmp_path / "b.txt").touch()
    seen.add(stamp(tmp_path))
    (tmp_path / ".hidden").touch()
    assert stamp(tmp_path) in seen
    assert len(seen) == 3
    monkeypatch.setattr("spec.dataset._STAMPED_FILES", 1)
    large = stamp(tmp_path)
    assert stamp(tmp_path) == large
    (tmp_path / "inner" / "c.txt").touch()
    assert stamp(tmp_path) != large


@pytest.mark.parametrize("damaged", ["train.bin", "val.bin", META])
def test_a_damaged_folder_is_refused_and_then_repaired(file, said, damaged):
    done = prepare(str(file), None, None, said)
    (done.folder / damaged).write_bytes(b"vocab_size: [")
    with pytest.raises((InputError, ConfigError), match=damaged):
        read_meta(done.folder)
    assert prepare(str(file), None, None, said).new
    assert read_meta(done.folder) == done.meta


def test_a_path_and_textfile_with_a_source_are_the_same_data_set(file, said, monkeypatch):
    by_path = prepare(str(file), "chars", None, said)
    monkeypatch.chdir(file.parent)
    assert prepare("textfile", "chars", file, said).folder == by_path.folder
    assert not prepare("./song.txt", "chars", None, said).new
    assert prepared_folder("song.txt", "chars") == by_path.folder


def test_files_of_one_name_in_two_folders_do_not_meet(tmp_path, said):
    folders = set()
    for parent in ("a", "b"):
        (tmp_path / parent).mkdir()
        (tmp_path / parent / ("x" * 200 + ".txt")).write_text(TEXT)
        folders.add(prepare(str(next((tmp_path / parent).iterdir())), None, None, said).folder)
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"x.txt": ""}, "empty corpus"),
        ({"x.txt": "a"}, "training split is empty"),
        ({"x.txt": "one", "y.txt": "two"}, "validation split is empty .* one file"),
    ],
)
def test_a_text_too_small_to_split_is_refused(tmp_path, prepared, said, texts, message):
    (tmp_path / "texts").mkdir()
    for name, text in texts.items():
        (tmp_path / "texts" / name).write_text(text)
    with pytest.raises(InputError, match=message):
        prepare(str(tmp_path / "texts"), None, None, said)
    assert not [path for path in prepared.glob("*") if path.is_dir()]


def test_a_failure_at_the_end_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(ZeroDivisionError), alone(folder, print), appearing(folder) as new:
        (new / "new").write_text(str(1 / 0))
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert not list(tmp_path.glob(".x.tmp-*"))


def test_what_a_dead_process_left_is_cleared_before_work_begins(tmp_path):
    (tmp_path / ".x.tmp-dead").mkdir()
    (tmp_path / ".other.tmp-alive").mkdir()
    with alone(tmp_path / "x", print):
        assert [path.name for path in tmp_path.glob("*.tmp-*")] == [".other.tmp-alive"]


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "data.prepare", *map(str, arguments)]
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, text=True)


def test_killed_in_the_middle_it_leaves_nothing_half_done(tmp_path, prepared, said):
    large = tmp_path / "large.txt"
    large.write_text(TEXT * 300)
    process = _start(large)
    while not any(path.stat().st_size for path in prepared.glob(".*/train.bin")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    folder = prepared_folder(str(large), "bytes")
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert list(prepared.glob(".*.tmp-*"))
    large.write_text(TEXT)
    assert prepare(str(large), None, None, said).new
    assert not list(prepared.glob(".*.tmp-*"))
    assert _split(folder, "train") + _split(folder, "val") == TEXT


def test_two_at_once_make_one_folder(file, prepared):
    file.write_text(TEXT * 20)
    both = [_start(file) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("already prepared" in text for text in said) == [False, True]
    folder = prepared_folder(str(file), "bytes")
    assert _split(folder, "train") + _split(folder, "val") == TEXT * 20
    assert [path for path in prepared.iterdir() if path.is_dir()] == [folder]
