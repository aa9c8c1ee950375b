"""From a data set's name to its prepared folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from data import bins, publish, recipe
from data.documents import Corpus
from data.progress import Progress
from data.sources import Request
from spec import yaml
from spec.dataset import (
    META,
    Meta,
    SourceFacts,
    check_tokenizer,
    is_path,
    prepared_folder,
    prepared_root,
    read_meta,
)
from spec.errors import InputError


@dataclass(frozen=True)
class Prepared:
    """A prepared folder.

    Attributes:
        folder: Where it lies.
        meta: Its facts.
        new: Whether it had to be written.
    """

    folder: Path
    meta: Meta
    new: bool


def prepare(
    name: str,
    tokenizer: str | None,
    source: Path | None,
    progress: Progress,
    *,
    force: bool = False,
) -> Prepared:
    """Make sure that a data set is prepared.

    Args:
        name: A recipe's name, or the path of a text file or folder.
        tokenizer: One of ``spec.dataset.TOKENIZER_KINDS``; None for the recipe's own.
        source: A file or folder to use as the recipe's text.
        progress: Told what happens.
        force: Write it even when it is there.

    Raises:
        InputError: When the name, the tokenizer or the text cannot be used.
    """
    job = plan(name, tokenizer, source, progress)
    folder = prepared_folder(job.dataset, job.tokenizer)
    with publish.alone(folder, progress.say):
        found = None if force else current(folder, job.fingerprint)
        if found:
            return Prepared(folder, _seen_again(folder, found, job.facts), new=False)
        progress.begin(folder.name, job.facts.bytes)
        with publish.appearing(folder) as new:
            meta = bins.write(job, new, progress)
    return Prepared(folder, meta, new=True)


def plan(name: str, tokenizer: str | None, source: Path | None, progress: Progress) -> bins.Job:
    """What preparing a data set would write; reads its files, fetches nothing.

    Raises:
        InputError: When the name, the tokenizer or the source cannot be used.
    """
    chosen, given = _recipe(name, source)
    tokenizer = tokenizer or chosen.tokenizer
    check_tokenizer(tokenizer)
    dataset = chosen.source.dataset(name, given)
    stamp = chosen.source.stamp(given)  # first: what is written from here on makes the data stale
    documents = chosen.source.documents(Request(given, prepared_root() / "downloads", progress.say))
    facts = SourceFacts(
        kind=chosen.source.kind,
        origin=chosen.source.origin(given),
        files=len(documents),
        bytes=sum(document.size for document in documents),
        stamp=stamp,
        interpreter=chosen.source.interpreter(),
    )
    return bins.Job(dataset, tokenizer, Corpus(documents, chosen.val_fraction), facts)


def _recipe(name: str, source: Path | None) -> tuple[recipe.Recipe, Path | None]:
    if is_path(name):
        if source is not None:
            raise InputError(f"--source {source}: {name} is the text already; leave --source out")
        return recipe.load("textfile"), Path(name)
    chosen = recipe.load(name)
    if source is not None and not chosen.source.takes_path:
        raise InputError(
            f"--source {source}: the recipe {name} takes none; leave it out, or use textfile"
        )
    return chosen, source


def current(folder: Path, fingerprint: str) -> Meta | None:
    """The facts of a folder that is prepared, sound, and of this fingerprint."""
    try:
        meta = read_meta(folder)
    except InputError:
        return None
    return meta if meta.fingerprint == fingerprint else None


def _seen_again(folder: Path, meta: Meta, facts: SourceFacts) -> Meta:
    """Note that files of another time or place held the same text."""
    if meta.sources == (facts,):
        return meta
    meta = meta.model_copy(update={"sources": (facts,)})
    beside = folder / f".{META}.{os.getpid()}"
    beside.write_text(yaml.dump(meta.full()), encoding="utf-8")
    beside.replace(folder / META)
    return meta
