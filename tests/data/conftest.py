"""A data folder of its own for each test, and text that is everywhere."""

import io
import os
from collections.abc import Callable
from hashlib import sha1, sha256
from pathlib import Path

import pytest

from data.documents import Corpus, Document
from data.progress import Progress
from data.sources import Request, sources
from data.tokenizers import build
from spec.dataset import Tokenizer


class Said(Progress):
    """Keeps what was said."""

    def __init__(self):
        self.lines: list[str] = []
        self.done = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def begin(self, what: str, total: int) -> None:
        self.lines.append(what)

    def advance(self, done: int) -> None:
        self.done += done


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where prepared data goes."""
    folder = tmp_path / "prepared"
    monkeypatch.setenv("ESPALIER_DATA", str(folder))
    return folder


@pytest.fixture(scope="session")
def stdlib() -> Corpus:
    """Some modules of the standard library: real text."""
    documents = sources["python_stdlib"]().documents(Request(None, Path(), print))
    return Corpus([d for d in documents if d.name.startswith("a") and d.size < 60_000], 0.1)


@pytest.fixture(scope="session")
def document() -> Callable[..., Document]:
    """Makes a document of a text."""

    return _document


def _document(text: str, name: str = "x.txt", encoding: str = "utf-8") -> Document:
    content = text.encode(encoding)
    digest = sha256(content).hexdigest()
    return Document(name, digest, len(content), lambda: io.BytesIO(content), encoding)


@pytest.fixture(scope="session")
def gpt2() -> Tokenizer:
    """GPT-2's vocabulary, where the environment has it."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", "")
    cached = sha1(b"https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe")
    if not (folder and Path(folder, cached.hexdigest()).is_file()):
        pytest.skip("TIKTOKEN_CACHE_DIR has no gpt2")
    return build("tiktoken:gpt2", Corpus([_document("no text is needed")], 0.1))
