"""Say what configs mean and cost: ``python -m trainer.describe [FILE ...]``.

Without files it serves: one JSON line in, one JSON line out, until the input ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from spec import yaml
from spec.config import Data, identity
from spec.dataset import META, Meta, prepared_folder
from spec.errors import ConfigError, InputError
from spec.yaml import Document
from trainer.batches import fresh_meta
from trainer.config import DataConfig, TrainerConfig, resolve
from trainer.inventory import inventory


def describe(document: Document) -> Data:
    """A config's full form, its id, its cost inventory, and the fingerprint of its data.

    A config with a vocabulary size needs no data; the fingerprint of data that is not prepared is
    null.

    Raises:
        InputError: When the config is refused, or the data it needs cannot be prepared.
    """
    config = TrainerConfig.read(document)
    meta = _meta(config)
    if meta is not None:
        config = resolve(config, meta)
    full = config.full()
    return {
        "config": full,
        "id": identity(full),
        "inventory": inventory(config).full(),
        "data": {"fingerprint": meta and meta.fingerprint},
    }


def answer(line: str) -> Data:
    """One request of the server, answered: a description, or the problems."""
    try:
        return describe(Document(_requested(line)))
    except InputError as error:
        return _problems(error)
    except Exception as error:  # noqa: BLE001  # one component's bug is an answer; it must not end the search
        return _problems(InputError(f"{type(error).__name__}: {error}"))


def serve(requests: Iterable[str], replies: TextIO) -> None:
    """Answer each line by a line until the requests end."""
    for line in requests:
        print(json.dumps(answer(line)), file=replies, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; None takes the process's own.

    Returns:
        Exit status: 2 when a file was refused.
    """
    parser = argparse.ArgumentParser(prog="python -m trainer.describe", description=__doc__)
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="configs; none: serve stdin"
    )
    files = parser.parse_args(argv).files
    if not files:
        with _only_replies_on_stdout() as replies:
            serve(_lines(sys.stdin.buffer), replies)
        return 0
    answers = [_describe_file(file) for file in files]
    for found in answers:
        print(json.dumps(found))
    return 2 if any("error" in found for found in answers) else 0


def _describe_file(file: Path) -> Data:
    try:
        return describe(yaml.read(file))
    except InputError as error:
        return _problems(error)


def _requested(line: str) -> Any:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise InputError(
            f'not JSON: {error}; write one request per line: {{"config": {{...}}}}'
        ) from None
    if not isinstance(request, dict) or set(request) != {"config"}:
        raise InputError('not a request; write {"config": {...}}')
    return request["config"]


def _meta(config: TrainerConfig) -> Meta | None:
    if config.model.vocab_size is None:
        return fresh_meta(config.data)
    return _prepared_meta(config.data)


def _prepared_meta(data: DataConfig) -> Meta | None:
    """What is known of data that was prepared; None when it was not."""
    folder = prepared_folder(data.dataset, data.tokenizer)
    try:
        return _fresh_meta(data, folder, (folder / META).stat().st_mtime_ns)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=64)
def _fresh_meta(data: DataConfig, folder: Path, mtime_ns: int) -> Meta:
    """Read and compared once per version of the file: a search asks thousands of times."""
    return fresh_meta(data)


def _problems(error: InputError) -> Data:
    if not isinstance(error, ConfigError):
        return {"error": {"problems": [{"path": "", "message": str(error)}]}}
    found = [
        {"path": problem.path, "message": problem.message}
        | ({"place": problem.place} if problem.place else {})
        for problem in error.problems
    ]
    return {"error": {"problems": found}}


def _lines(stream: Iterable[bytes]) -> Iterable[str]:
    return (line.decode(errors="replace") for line in stream)


def _only_replies_on_stdout() -> TextIO:
    """The real stdout; what else is printed there, by child processes too, goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    sys.exit(main())
