"""Prepares a data set for training: ``python -m data.prepare NAME``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from data import recipe
from data.preparation import Prepared, prepare
from data.progress import shown
from spec.dataset import TOKENIZER_KINDS
from spec.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 for the system's failures, 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        if options.list:
            _list()
        else:
            _prepare(options)
    except InputError as error:
        return _fail(error, 2)
    except OSError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing half-written is left", 130)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.prepare", description=__doc__, allow_abbrev=False
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "name", nargs="?", metavar="NAME", help="a recipe, or the path of a text file or folder"
    )
    what.add_argument("--list", action="store_true", help="list the recipes")
    parser.add_argument(
        "--tokenizer", metavar="T", help=f"{', '.join(TOKENIZER_KINDS)}; default: the recipe's"
    )
    parser.add_argument(
        "--source", type=Path, metavar="PATH", help="the text of a recipe that takes one"
    )
    parser.add_argument("--force", action="store_true", help="prepare again what is prepared")
    return parser


def _prepare(options: argparse.Namespace) -> None:
    with shown() as progress:
        done = prepare(
            options.name, options.tokenizer, options.source, progress, force=options.force
        )
    sys.stderr.write(_summary(done))
    sys.stdout.write(f"{done.folder}\n")


def _summary(done: Prepared) -> str:
    meta = done.meta
    return (
        f"{done.folder.name}: {'prepared' if done.new else 'already prepared'}, "
        f"{meta.vocab_size} entries, "
        f"{meta.train_tokens} tokens for training, {meta.val_tokens} for validation, "
        f"{meta.bytes_per_token:.3f} bytes per token, fingerprint {meta.fingerprint}\n"
        "in a trainer's config: data: "
        f"{{dataset: {_quoted(meta.dataset)}, tokenizer: {_quoted(meta.tokenizer)}}}\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a YAML string


def _list() -> None:
    for name in recipe.names():
        found = recipe.load(name)
        sys.stdout.write(f"{name:<18} {found.tokenizer:<10} {found.about}\n")


def _fail(error: object, status: int) -> int:
    sys.stderr.write(f"{error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
