"""Fetches one file with a known checksum; what is found under its final name is always complete."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from spec.errors import InputError

_BLOCK = 1 << 16
_PASSING = {408, 425, 429}  # statuses below 500 that another attempt may cure


class Interrupted(OSError):
    """A transfer that ended early; another attempt may succeed."""


@dataclass(frozen=True)
class Download:
    """What to fetch.

    Attributes:
        url: http or https.
        sha256: Checksum of the whole file, in hex.
        size: Its size in bytes.
        attempts: How often it is tried.
        timeout_seconds: For the connection and for each read.
        backoff_seconds: Wait before the second attempt; doubles for each further one.
    """

    url: str
    sha256: str
    size: int
    attempts: int = 4
    timeout_seconds: float = 30.0
    backoff_seconds: float = 1.0


def fetch(download: Download, file: Path, said: Callable[[str], None] = lambda line: None) -> None:
    """Bring the file to ``file``, unless it is there.

    Args:
        download: What to fetch.
        file: Its final name; the folder is made.
        said: Told about each failed attempt.

    Raises:
        InputError: When it cannot be had, or is not the file that was expected.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if file.is_file():
            return
        partial = file.with_name(f"{file.name}.part")
        try:
            _attempt(download, partial, said)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


def _attempt(download: Download, partial: Path, said: Callable[[str], None]) -> None:
    for attempt in range(1, download.attempts + 1):
        try:
            with partial.open("wb") as out:
                _transfer(download, out)
            return
        except (OSError, http.client.HTTPException) as error:
            if attempt == download.attempts or not _may_pass(error):
                raise InputError(
                    f"{download.url}: cannot be fetched: {_reason(error)} (attempt {attempt} of "
                    f"{download.attempts}); check the network, or give a copy with --source FILE"
                ) from None
            wait = download.backoff_seconds * 2 ** (attempt - 1)
            said(f"{download.url}: {_reason(error)}; trying again in {wait:g} s")
            time.sleep(wait)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in _PASSING
    return True


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _transfer(download: Download, out: BinaryIO) -> None:
    done, sha256 = 0, hashlib.sha256()
    with urllib.request.urlopen(download.url, timeout=download.timeout_seconds) as response:
        while block := response.read(_BLOCK):
            done += len(block)
            sha256.update(block)
            out.write(block)
            if done > download.size:
                break
    if done < download.size:
        raise Interrupted(f"ended after {done} of {download.size} bytes")
    check(download, sha256.hexdigest(), download.url)


def check(download: Download, found: str, where: str) -> None:
    """Hold a file's checksum against the expected one.

    Raises:
        InputError: When they differ.
    """
    if found != download.sha256:
        raise InputError(
            f"{where}: SHA-256 is {found}, the recipe expects {download.sha256}: another file "
            "than its own; get the original, or use yours by its path as a data set"
        )
