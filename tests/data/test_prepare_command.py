"""The command says what it did, and what is wrong in one message without a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from data.prepare import main
from data.progress import Bar, Lines
from spec.dataset import read_meta


@pytest.fixture
def text(tmp_path, monkeypatch) -> str:
    (tmp_path / "notes.txt").write_text("note\n" * 100)
    monkeypatch.chdir(tmp_path)
    return "notes.txt"


def test_it_prints_the_folder_and_what_to_write_in_a_config(text, capsys):
    assert main([text, "--tokenizer", "chars"]) == 0
    out, err = capsys.readouterr()
    meta = read_meta(Path(out.strip()))
    assert meta.tokenizer == "chars"
    assert f'data: {{dataset: "{Path.cwd() / text}", tokenizer: "chars"}}' in err
    assert main([text, "--tokenizer", "chars"]) == 0
    assert "already prepared" in capsys.readouterr().err
    assert main([text, "--tokenizer", "chars", "--force"]) == 0
    assert "already prepared" not in capsys.readouterr().err


def test_it_lists_the_recipes(capsys):
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == [
        "pystdlib",
        "shakespeare_char",
        "textfile",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pystdlb"], "did you mean 'pystdlib'?"),
        (["pystdlib", "--tokenizer", "chrs"], "did you mean 'chars'?"),
        (["pystdlib", "--source", "x"], "the recipe pystdlib takes none"),
        (["./notes.txt", "--source", "x"], "leave --source out"),
        (["textfile"], "name a file or a folder"),
        (["./nothing.txt"], "no such file or folder"),
        (["textfile", "--source", "nothing"], "no such file or folder"),
        (["shakespeare_char", "--source", "notes.txt"], "SHA-256"),
        (["./notes.txt", "--tokenizer", "bpe:4000"], "ask for at most bpe:2"),
        ([""], "unknown recipe ''"),
    ],
)
def test_wrong_input_is_one_message_and_status_2(text, capsys, arguments, message):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize("arguments", [[], ["a", "--list"], ["--nonsense"], ["--tok", "bytes"]])
def test_wrong_options_show_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m data.prepare" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_the_systems_failure(
    text, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ESPALIER_DATA", str(tmp_path / "notes.txt"))
    assert main([text]) == 1
    assert "notes.txt" in capsys.readouterr().err


def test_interrupted_it_leaves_nothing_and_no_traceback(text, prepared, monkeypatch, capsys):
    def interrupted(self: Lines, done: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lines, "advance", interrupted)
    assert main([text]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not [path for path in prepared.iterdir() if path.is_dir()]


def test_the_bar_and_the_lines_tell_the_same(capsys):
    for progress in (Lines(), Bar()):
        with progress as shown:
            shown.begin("[song]", 10)
            shown.say("[verse]")
            shown.advance(10)
        assert "[verse]" in capsys.readouterr().err


def test_long_work_shows_signs_of_life(capsys, monkeypatch):
    monkeypatch.setattr("data.progress._EVERY_SECONDS", -1.0)
    with Lines() as shown:
        shown.begin("song", 2_000_000)
        shown.advance(500_000)
    assert "song: 0.5 of 2.0 MB" in capsys.readouterr().err


def test_the_standard_library_is_the_same_data_each_time(capsys, prepared):
    assert main(["pystdlib"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    first = read_meta(folder)
    assert first.vocab_size == 256
    assert first.bytes_per_token == 1.0
    assert 0.05 < first.val_bytes / (first.val_bytes + first.train_bytes) < 0.15
    assert main(["pystdlib", "--force"]) == 0
    assert read_meta(folder) == first


@pytest.mark.parametrize("module", ["spec.dataset", "data.prepare"])
def test_imports_stay_light(module):
    heavy = ("torch", "tiktoken", "tokenizers", "rich", "pandas")
    check = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    command = [sys.executable, "-c", check]
    root = Path(__file__).parents[2]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
