"""Where a recipe's text comes from: the family of sources."""

from __future__ import annotations

import io
import os
import platform
import sys
import sysconfig
import tokenize
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar

from pydantic import Field

from data import download
from data.documents import Document, digest
from spec import dataset
from spec.errors import InputError
from spec.family import Component, Family


@dataclass(frozen=True)
class Request:
    """What a source is asked with.

    Attributes:
        given: What ``--source`` named.
        cache: A folder for what is fetched.
        say: Told what a person waiting should know.
    """

    given: Path | None
    cache: Path
    say: Callable[[str], None]


class Source(Component):
    """Options of one source."""

    takes_path: ClassVar[bool] = False
    """Whether ``--source`` means something to it."""

    @abstractmethod
    def documents(self, request: Request) -> list[Document]:
        """Its files, sorted by name.

        Raises:
            InputError: When there are none, or they cannot be read.
        """

    @abstractmethod
    def origin(self, given: Path | None) -> str:
        """A path, a URL, or a version: where the text came from, for the record."""

    def stamp(self, given: Path | None) -> str | None:
        """``spec.dataset.stamp`` of the origin; None where no file of a person's is read."""
        return None

    def interpreter(self) -> str | None:
        """``spec.dataset.interpreter``, where the text is part of it."""
        return None

    def dataset(self, name: str, given: Path | None) -> str:
        """What the result is called; ``name`` is the recipe's."""
        return name


sources = Family[Source](
    "source", "documents() are UTF-8 texts in an order that depends on their names only"
)


@sources.variant("text")
class Text(Source):
    """A file of text, or a folder of such files; names that begin with a dot are left out."""

    takes_path = True

    path: str | None = None
    """Relative to the current folder; null: given on the command line."""
    glob: str = "*"
    """Which files of a folder, at any depth."""

    def _root(self, given: Path | None) -> Path:
        path = given or (Path(self.path) if self.path else None)
        if path is None:
            raise InputError(
                "no text: name a file or a folder with --source PATH, or as the data set itself"
            )
        path = path.expanduser().resolve()
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; name an existing one")
        return path

    def origin(self, given: Path | None) -> str:
        return str(self._root(given))

    def stamp(self, given: Path | None) -> str | None:
        return dataset.stamp(self._root(given))

    def dataset(self, name: str, given: Path | None) -> str:
        return name if self.path and not given else str(self._root(given))

    def documents(self, request: Request) -> list[Document]:
        root = self._root(request.given)
        if root.is_file():
            return [_document(root, root.name)]
        names = {path: path.relative_to(root) for path in root.rglob(self.glob) if path.is_file()}
        shown = {
            path: name for path, name in names.items() if not any(p[0] == "." for p in name.parts)
        }
        if not shown:
            raise InputError(
                f"{root}: no file matches {self.glob!r}; name a folder with text files"
            )
        return [
            _document(path, name.as_posix()) for path, name in sorted(shown.items(), key=_by_name)
        ]


def _by_name(item: tuple[Path, Path]) -> str:
    return item[1].as_posix()


def _document(path: Path, name: str) -> Document:
    try:
        with path.open("rb") as stream:
            return Document(name, digest(stream), path.stat().st_size, lambda: path.open("rb"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; make it readable") from None


@sources.variant("download")
class Web(Source):
    """One public file, known by its checksum; ``--source FILE`` gives a copy of it."""

    takes_path = True

    url: str = Field(pattern=r"^https?://")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)

    def _download(self) -> download.Download:
        return download.Download(self.url, self.sha256, self.bytes)

    def origin(self, given: Path | None) -> str:
        return self.url

    def documents(self, request: Request) -> list[Document]:
        name, given = PurePosixPath(self.url).name, request.given
        if given is None:
            return [Document(name, self.sha256, self.bytes, partial(self._open, name, request))]
        if not given.is_file():
            raise InputError(f"{given}: no such file; --source names a copy of {self.url}")
        copy = _document(given, name)
        download.check(self._download(), copy.digest, str(given))
        return [copy]

    def _open(self, name: str, request: Request) -> BinaryIO:
        file = request.cache / f"{self.sha256[:8]}-{name}"
        download.fetch(self._download(), file, request.say)
        return file.open("rb")


_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
_GENERATED = ("_sysconfigdata", "config-")  # written by each build, with the paths of its machine


@sources.variant("python_stdlib")
class PythonStdlib(Source):
    """The source text of the running interpreter's standard library, without its tests."""

    def origin(self, given: Path | None) -> str:
        return f"Python {platform.python_version()}"

    def interpreter(self) -> str | None:
        return dataset.interpreter()

    def documents(self, request: Request) -> list[Document]:
        found = (_python(name, read()) for name, read in sorted(_stdlib().items()))
        documents = [document for document in found if document]
        if not documents:
            raise InputError(
                "this interpreter comes without the source of its standard library; use another "
                "data set, such as a text file of yours by its path"
            )
        return documents


def _stdlib() -> dict[str, Callable[[], bytes]]:
    """Name and reader of each module, in the folder or in embedded distributions' zip file."""
    files = dict(_below(Path(sysconfig.get_path("stdlib"))))
    if not files:
        files = {name: read for zipped in sys.path for name, read in _zipped(Path(zipped))}
    return {name: read for name, read in files.items() if _wanted(name)}


def _below(root: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for folder, inner, files in os.walk(root):
        inner[:] = [
            name for name in inner if _wanted(name)
        ]  # not into site-packages, which may be huge
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            yield path.relative_to(root).as_posix(), path.read_bytes


def _zipped(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    if path.stem == f"python{sys.version_info[0]}{sys.version_info[1]}" and zipfile.is_zipfile(
        path
    ):
        archive = zipfile.ZipFile(path)
        for name in archive.namelist():
            if name.endswith(".py"):
                yield name, partial(archive.read, name)


def _wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not any(part in _LEFT_OUT or part.startswith(_GENERATED) for part in parts)


def _python(name: str, content: bytes) -> Document | None:
    """A module's source in its declared encoding; None for one that is not text in it."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        return None
    return Document(
        name, digest(io.BytesIO(content)), len(content), partial(io.BytesIO, content), encoding
    )
