"""The format of prepared data: where a folder lies, its facts, and how its tokenizer is read."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import re
import sysconfig
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from spec import yaml
from spec.config import Config, Seq
from spec.errors import InputError, did_you_mean
from spec.family import Component, Family

if TYPE_CHECKING:
    from tiktoken import Encoding

META, TOKENIZER = "meta.yaml", "tokenizer.json"
SPLITS = ("train", "val")

TOKENIZER_KINDS = ("bytes", "chars", "tiktoken:NAME", "bpe:N")
"""What a config's ``data.tokenizer`` may say."""


Dtype = Literal["uint16", "uint32"]

NUMPY_DTYPES: dict[Dtype, str] = {"uint16": "<u2", "uint32": "<u4"}


class SourceFacts(Config):
    """Where the text came from."""

    kind: str
    """The source's kind, such as ``python_stdlib``."""
    origin: str
    """A path, a URL, or an interpreter's version."""
    files: int
    bytes: int
    stamp: str | None = None
    """``stamp(origin)``, taken before the files were read; null: the text cannot change."""
    interpreter: str | None = None
    """``interpreter()``, where the text is part of it; null: any has the same."""

    def changed(self) -> bool:
        """Whether another text would be found there now; of one that is gone nobody can tell."""
        if self.interpreter not in (None, interpreter()):
            return True
        place = Path(self.origin)
        return self.stamp is not None and place.exists() and stamp(place) != self.stamp


_STAMPED_FILES = 1000  # in a larger folder files written in place go unnoticed


def stamp(path: Path) -> str:
    """16 hex digits that change when a file at or below a path is written, comes or goes.

    Made of names, sizes and times of the files that are not hidden; of a folder with very many,
    of their number and the times of the folders they lie in.
    """
    files = sorted(_files(path)) if path.is_dir() else [(str(path),)]
    few = len(files) <= _STAMPED_FILES
    looked_at = files if few else sorted({(folder,) for folder, *_ in files})
    seen = [str(len(files)), *(_state(Path(*parts)) for parts in looked_at)]
    return hashlib.sha256(os.fsencode("\n".join(seen))).hexdigest()[:16]


def _files(root: Path) -> Iterator[tuple[str, ...]]:
    """Folder and name of each file; plain text, for there may be a million."""
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name[0] != "."]
        yield from ((folder, name) for name in files if name[0] != ".")


def _state(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:  # a broken link, or gone in this instant
        return str(path)
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def interpreter() -> str:
    """The version of this Python, and where its standard library lies."""
    return f"{platform.python_version()} {sysconfig.get_path('stdlib')}"


class Meta(Config):
    """What ``meta.yaml`` says about a prepared folder. Sizes in bytes are of the text as UTF-8."""

    dataset: str
    tokenizer: str
    vocab_size: int
    dtype: Dtype
    """Type of the numbers in ``train.bin`` and ``val.bin``, little endian."""
    train_tokens: int
    val_tokens: int
    train_bytes: int
    val_bytes: int
    bytes_per_token: float
    """Of the validation split: ``val_bpb = val_loss / ln 2 / bytes_per_token``."""
    fingerprint: str
    """16 hex digits over the name and content of every file, the split and the tokenizer."""
    sources: Seq[SourceFacts]

    @property
    def numpy_dtype(self) -> str:
        """The name numpy has for the numbers on disk."""
        return NUMPY_DTYPES[self.dtype]

    @property
    def is_stale(self) -> bool:
        """Whether the text is no longer the one that was prepared."""
        return any(source.changed() for source in self.sources)


def is_path(dataset: str) -> bool:
    """Whether a data set is named by its path, and not by its recipe."""
    return any(mark in dataset for mark in ("/", os.sep, ".", "~"))


def check_tokenizer(text: str) -> tuple[str, str]:
    """Split a tokenizer's name into its kind and its argument.

    Returns:
        Such as ``("bpe", "1024")`` or ``("bytes", "")``.

    Raises:
        InputError: When it is none of ``TOKENIZER_KINDS``.
    """
    kind, colon, argument = text.partition(":")
    shape = next((shape for shape in TOKENIZER_KINDS if shape.partition(":")[0] == kind), None)
    if shape is None:
        raise InputError(f"unknown tokenizer {text!r}{did_you_mean(text, TOKENIZER_KINDS)}")
    if (":" in shape) != bool(colon):
        raise InputError(f"tokenizer {text!r}: write it as {shape}")
    if kind == "bpe" and not (re.fullmatch(r"[1-9]\d*", argument) and int(argument) >= 256):
        raise InputError(f"tokenizer {text!r}: N is a number of at least 256, one entry per byte")
    if kind == "tiktoken" and not re.fullmatch(r"\w+", argument):
        raise InputError(f"tokenizer {text!r}: NAME is an encoding's name, such as tiktoken:gpt2")
    return kind, argument


def prepared_root() -> Path:
    """Where all prepared data lies: ``$ESPALIER_DATA``, or ``data/prepared`` below the project."""
    chosen = os.environ.get("ESPALIER_DATA")
    if chosen:
        return Path(chosen).expanduser()
    return Path(__file__).resolve().parents[1] / "data" / "prepared"


def prepared_folder(dataset: str, tokenizer: str) -> Path:
    """Where the prepared form of a data set lies, whether it exists or not.

    Args:
        dataset: A recipe's name, or the path of a text file or folder; relative to the
            current folder.
        tokenizer: One of ``TOKENIZER_KINDS``.

    Raises:
        InputError: When the tokenizer is unknown, or the data set is neither a name nor a path.
    """
    check_tokenizer(tokenizer)
    return prepared_root() / f"{_slug(dataset)}-{tokenizer.replace(':', '-')}"


def _slug(dataset: str) -> str:
    if is_path(dataset):
        path = Path(dataset).expanduser().resolve()
        stem = re.sub(r"\W+", "_", path.stem)[:40]
        return f"{stem}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if re.fullmatch(r"[\w-]+", dataset):
        return dataset
    raise InputError(
        f"data set {dataset!r} is no recipe's name; for a file or folder write a path such as ./x"
    )


def read_meta(folder: Path) -> Meta:
    """The facts of a prepared folder.

    Raises:
        InputError: When there is none, or its files do not have the sizes it states.
        ConfigError: When ``meta.yaml`` is damaged.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no prepared data; make it with: python -m data.prepare NAME --tokenizer T"
        )
    meta = Meta.read(yaml.read(folder / META))
    width = int(meta.numpy_dtype[-1])
    for split, tokens in zip(SPLITS, (meta.train_tokens, meta.val_tokens), strict=True):
        file = folder / f"{split}.bin"
        found = file.stat().st_size if file.is_file() else 0
        if found != tokens * width:
            raise InputError(
                f"{file}: {found} bytes, {META} states {tokens * width}; repair it with: "
                f"python -m data.prepare {meta.dataset} --tokenizer {meta.tokenizer} --force"
            )
    return meta


class Tokenizer(Component):
    """Text to numbers and back."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """One more than the largest id."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; what is no UTF-8 becomes U+FFFD."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of several texts."""
        return [self.encode(text) for text in texts]

    @abstractmethod
    def byte_lengths(self) -> list[int]:
        """Bytes of UTF-8 that each id stands for; 0 for one that is not used."""


tokenizers = Family[Tokenizer](
    "tokenizer",
    "ids lie in [0, vocab_size), and decode(encode(text)) == text for every text it can encode",
)


@tokenizers.variant("bytes")
class Bytes(Tokenizer):
    """The 256 bytes of UTF-8."""

    @property
    def vocab_size(self) -> int:
        return 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(ids).decode(errors="replace")

    def byte_lengths(self) -> list[int]:
        return [1] * self.vocab_size


@tokenizers.variant("chars")
class Chars(Tokenizer):
    """The characters of one corpus."""

    characters: str
    """Sorted and unique; a character's place is its id."""

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {character: number for number, character in enumerate(self.characters)}

    def encode(self, text: str) -> list[int]:
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise InputError(
                f"character {error.args[0]!r} is not among the {self.vocab_size} of the corpus; "
                "leave it out, or prepare the data with tokenizer bytes, which knows every text"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.characters[number] for number in ids)

    def byte_lengths(self) -> list[int]:
        return [len(character.encode()) for character in self.characters]


@tokenizers.variant("bpe")
class Bpe(Tokenizer):
    """Byte-pair tokens, applied by tiktoken; complete, so that reading needs no network."""

    name: str
    """Such as ``tiktoken:gpt2`` or ``bpe:1024``."""
    pattern: str
    """The regular expression that cuts text before pairs are merged."""
    tokens: Seq[str]
    """Base64 of each token's bytes, by rank; empty where a rank is not used."""
    special: dict[str, int] = Field(default_factory=dict)

    @property
    def vocab_size(self) -> int:
        return 1 + max(len(self.tokens) - 1, *self.special.values(), 0)

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        ranks = {rank: base64.b64decode(token) for rank, token in enumerate(self.tokens) if token}
        return ranks | {number: text.encode() for text, number in self.special.items()}

    @cached_property
    def _encoding(self) -> Encoding:
        from tiktoken import Encoding

        special = set(self.special.values())
        ranks = {token: rank for rank, token in self._bytes.items() if rank not in special}
        return Encoding(
            self.name,
            pat_str=self.pattern,
            mergeable_ranks=ranks,
            special_tokens=dict(self.special),
        )

    def encode(self, text: str) -> list[int]:
        return self._encoding.encode_ordinary(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encoding.encode_ordinary_batch(list(texts), num_threads=os.cpu_count() or 1)

    def decode(self, ids: Iterable[int]) -> str:
        unused = "\N{REPLACEMENT CHARACTER}".encode()
        return b"".join(self._bytes.get(number, unused) for number in ids).decode(errors="replace")

    def byte_lengths(self) -> list[int]:
        return [len(self._bytes.get(number, b"")) for number in range(self.vocab_size)]


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer a folder was prepared with.

    Raises:
        InputError: When the folder holds none.
    """
    file = folder / TOKENIZER
    try:
        written: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: no readable tokenizer ({error}); prepare the data again"
        ) from None
    return tokenizers.parse(written)
