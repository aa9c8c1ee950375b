"""What each source finds, and what it refuses."""

import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from data import recipe
from data.sources import Request, sources
from spec.errors import ConfigError, InputError


def _documents(kind: str, given: Path | None = None, **options):
    return sources.parse({"kind": kind, **options}).documents(Request(given, Path(), print))


def test_the_standard_library_is_real_text_without_tests():
    documents = _documents("python_stdlib")
    names = [document.name for document in documents]
    assert {"abc.py", "argparse.py", "json/decoder.py"} <= set(names)
    assert names == sorted(names)
    assert not [
        name for name in names if name.startswith("test/") or "-packages" in name or "/test" in name
    ]
    assert sum(document.size for document in documents) > 5_000_000


def test_modules_are_read_in_the_encoding_they_declare(tmp_path, monkeypatch):
    (tmp_path / "old.py").write_bytes("# -*- coding: latin-1 -*-\n# caf\u00e9\n".encode("latin-1"))
    (tmp_path / "marked.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    (tmp_path / "broken.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "unheard.py").write_bytes(b"# coding: klingon\n")
    (tmp_path / "_sysconfigdata_local.py").write_bytes(b"home = 'of this machine'\n")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    texts = {document.name: "".join(document.chunks()) for document in _documents("python_stdlib")}
    assert texts == {"marked.py": "x = 1\n", "old.py": "# -*- coding: latin-1 -*-\n# caf\u00e9\n"}


@pytest.fixture
def zipped(tmp_path, monkeypatch) -> Path:
    """An interpreter whose standard library is a zip file only."""
    archive = tmp_path / "python{}{}.zip".format(*sys.version_info)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
    return archive


def test_a_zipped_standard_library_is_read(zipped):
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("json/decoder.py", "x = 1\n")
        archive.writestr("test/support.py", "y = 1\n")
    (document,) = _documents("python_stdlib")
    assert document.name == "json/decoder.py"
    assert list(document.chunks()) == ["x = 1\n"]


def test_an_interpreter_without_sources_says_what_to_use(zipped):
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("json/decoder.pyc", b"\0")
    with pytest.raises(InputError, match=r"without the source .* use another"):
        _documents("python_stdlib")


def test_a_folder_gives_its_files_in_the_order_of_their_names(tmp_path):
    for name in ("b.txt", "a/z.txt", "a.txt", ".hidden", ".git/config", "c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    names = [document.name for document in _documents("text", tmp_path)]
    assert names == ["a.txt", "a/z.txt", "b.txt", "c.md"]
    some = [document.name for document in _documents("text", path=str(tmp_path), glob="*.md")]
    assert some == ["c.md"]


@pytest.mark.parametrize(
    ("path", "message"),
    [(None, "name a file or a folder"), ("./no/such.txt", "no such file"), ("empty", "no file")],
)
def test_text_that_is_not_there_is_refused(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(InputError, match=message):
        _documents("text", Path(path) if path else None)


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_is_valid(name):
    found = recipe.load(name)
    assert found.about
    assert type(found).model_validate(found.full()) == found


def test_the_names_of_recipes_can_be_the_names_of_folders():
    from spec.dataset import prepared_folder

    folders = {prepared_folder(name, "bytes").name for name in recipe.names()}
    assert folders == {f"{name}-bytes" for name in recipe.names()}


def test_a_wrong_recipe_is_refused_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "FOLDER", tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "about: Mine.\nsource: {kind: txt}\nval_fraction: 1.5\ntokenizer: byte\n"
    )
    with pytest.raises(ConfigError) as error:
        recipe.load("mine")
    assert "mine.yaml:2:" in str(error.value)
    assert "did you mean 'text'?" in str(error.value)
    assert "val_fraction: 1.5 (float) should be less than 1" in str(error.value)
    assert "did you mean 'bytes'?" in str(error.value)
