"""Lines of a growing text file, without colours, with progress bars unrolled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

CHUNK = 4 << 20
"""Bytes held at a time, however long the file is."""
LONGEST = 1 << 20
"""Bytes of one line; a longer one is read in pieces."""

_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Lines:
    """Yields each line once. A half line waits for its rest; a file that shrank is read anew."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._offset = 0
        self._rest = b""

    def read(self, last: bool = False) -> Iterator[str]:
        """The new whole lines; with ``last`` also one without an end.

        Invalid UTF-8 is replaced. Carriage returns end a line too, as progress bars use them.
        """
        for chunk in self._chunks():
            text = (self._rest + chunk).replace(b"\r", b"\n")
            end = text.rfind(b"\n") + 1
            if not end and len(text) > LONGEST:
                end = len(text)
            self._rest = text[end:]
            yield from _plain(text[:end])
        if last and self._rest:
            rest, self._rest = self._rest, b""
            yield from _plain(rest)

    def _chunks(self) -> Iterator[bytes]:
        try:
            with self.file.open("rb") as stream:
                if stream.seek(0, 2) < self._offset:
                    self._offset, self._rest = 0, b""
                stream.seek(self._offset)
                while chunk := stream.read(CHUNK):
                    self._offset += len(chunk)
                    yield chunk
        except (FileNotFoundError, NotADirectoryError):
            return


def _plain(text: bytes) -> Iterator[str]:
    if b"\x1b" in text:
        text = _ANSI.sub(b"", text)
    for line in text.decode(errors="replace").split("\n"):
        if line:
            yield line
