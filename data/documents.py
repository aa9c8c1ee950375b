"""The texts of a corpus: read in chunks of bounded size, and split into training and validation."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, TextIO

from spec.errors import InputError

CHUNK = 1 << 18  # characters: what is held in memory of one file


@dataclass(frozen=True)
class Document:
    """One file of text.

    Attributes:
        name: Its path inside its source, with forward slashes.
        digest: SHA-256 of its content, in hex.
        size: Its size in bytes.
        open: Opens it for reading; may fetch it first.
        encoding: How its bytes are text.
    """

    name: str
    digest: str
    size: int
    open: Callable[[], BinaryIO]
    encoding: str = "utf-8"

    def chunks(self, limit: int = CHUNK) -> Iterator[str]:
        """Its text in order, line ends as they are, at most twice ``limit`` characters at a time.

        Raises:
            InputError: When it is not text in its encoding.
        """
        try:
            with io.TextIOWrapper(self.open(), encoding=self.encoding, newline="") as stream:
                yield from cut(stream, limit)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.name}: not {self.encoding} text ({error.reason}); "
                "convert the file or take it out"
            ) from None


def cut(stream: TextIO, limit: int) -> Iterator[str]:
    """The text of a stream in pieces that no tokenizer's split pattern would have joined."""
    held = ""
    while len(piece := stream.read(limit)) == limit:
        held += piece
        end = _boundary(held)
        yield held[:end]
        held = held[end:]
    if held or piece:
        yield held + piece


def _boundary(text: str) -> int:
    """Just before the last space behind a non-blank: no published pattern has a token across it."""
    at = len(text)
    while (at := text.rfind(" ", 1, at)) > 0:
        if not text[at - 1].isspace():
            return at
    return len(text)


def digest(stream: io.BufferedReader | io.BytesIO) -> str:
    """SHA-256 of a stream, in hex."""
    return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Corpus:
    """Documents and how they are split.

    One document is cut by characters, its end being the validation text (as nanoGPT does). Of
    several, each belongs whole to one split by the hash of its content: copies of a file stay
    together, and a file that comes or goes moves no other.
    """

    documents: Sequence[Document]
    val_fraction: float

    def __post_init__(self) -> None:
        if not any(document.size for document in self.documents):
            raise InputError(
                f"an empty corpus: {len(self.documents)} files, 0 bytes; give a source with text"
            )

    def train(self) -> Iterator[str]:
        """The training text, in chunks."""
        if len(self.documents) == 1:
            return _before(self.documents[0].chunks(), self._cut_at)
        return _texts(document for document in self.documents if not self.holds_out(document))

    def val(self) -> Iterator[str]:
        """The validation text, in chunks."""
        if len(self.documents) == 1:
            return _behind(self.documents[0].chunks(), self._cut_at)
        return _texts(document for document in self.documents if self.holds_out(document))

    def holds_out(self, document: Document) -> bool:
        """Whether one of several documents is validation text."""
        return int(document.digest[:8], 16) < self.val_fraction * 2**32

    @cached_property
    def _cut_at(self) -> int:
        characters = sum(map(len, self.documents[0].chunks()))
        return int(characters * (1 - self.val_fraction))

    def fingerprint(self, tokenizer: str) -> str:
        """16 hex digits over everything that decides the prepared files."""
        lines = [tokenizer, repr(self.val_fraction)]
        lines += [f"{document.digest} {document.name}" for document in self.documents]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _texts(documents: Iterator[Document]) -> Iterator[str]:
    for document in documents:
        yield from document.chunks()


def _before(chunks: Iterator[str], end: int) -> Iterator[str]:
    for chunk in chunks:
        if end <= 0:
            return
        yield chunk[:end]
        end -= len(chunk)


def _behind(chunks: Iterator[str], start: int) -> Iterator[str]:
    for chunk in chunks:
        if start < len(chunk):
            yield chunk[max(start, 0) :]
        start -= len(chunk)
