"""Encodes a corpus into the files of one prepared folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from data.documents import Corpus
from data.progress import Progress
from data.tokenizers import build
from spec import yaml
from spec.dataset import META, NUMPY_DTYPES, TOKENIZER, Dtype, Meta, SourceFacts, Tokenizer
from spec.errors import InputError

_BATCH = 8  # chunks encoded together, on as many threads as the tokenizer has


@dataclass(frozen=True)
class Job:
    """What is to be written.

    Attributes:
        dataset: Its name, as a config says it.
        tokenizer: One of ``spec.dataset.TOKENIZER_KINDS``.
        corpus: The text.
        facts: Where the text came from.
    """

    dataset: str
    tokenizer: str
    corpus: Corpus
    facts: SourceFacts

    @property
    def fingerprint(self) -> str:
        """Equal for jobs that write equal files."""
        return self.corpus.fingerprint(self.tokenizer)


@dataclass(frozen=True)
class Written:
    """Sizes of one split, in tokens and in bytes of UTF-8."""

    tokens: int
    bytes: int


def write(job: Job, folder: Path, progress: Progress) -> Meta:
    """Write a job's files into a folder.

    Raises:
        InputError: When a split has no text, or the tokenizer cannot be made.
    """
    tokenizer = build(job.tokenizer, job.corpus)
    (folder / TOKENIZER).write_text(json.dumps(tokenizer.full()), encoding="utf-8")
    dtype: Dtype = "uint16" if tokenizer.vocab_size <= 1 << 16 else "uint32"
    train = _write_split(folder / "train.bin", job.corpus.train(), tokenizer, dtype, progress)
    val = _write_split(folder / "val.bin", job.corpus.val(), tokenizer, dtype, progress)
    _refuse_empty(job, train, val)
    meta = Meta(
        dataset=job.dataset,
        tokenizer=job.tokenizer,
        vocab_size=tokenizer.vocab_size,
        dtype=dtype,
        train_tokens=train.tokens,
        val_tokens=val.tokens,
        train_bytes=train.bytes,
        val_bytes=val.bytes,
        bytes_per_token=val.bytes / val.tokens,
        fingerprint=job.fingerprint,
        sources=(job.facts,),
    )
    (folder / META).write_text(yaml.dump(meta.full()), encoding="utf-8")
    return meta


def _refuse_empty(job: Job, train: Written, val: Written) -> None:
    for name, split in (("training", train), ("validation", val)):
        if not split.tokens:
            raise InputError(
                f"{job.dataset}: the {name} split is empty ({job.facts.files} files, "
                f"{job.facts.bytes} bytes); give more text, more files, or all text in one file, "
                "which is cut inside"
            )


def _write_split(
    file: Path, texts: Iterator[str], tokenizer: Tokenizer, dtype: Dtype, progress: Progress
) -> Written:
    tokens = size = 0
    with file.open("wb") as out:
        while batch := list(islice(texts, _BATCH)):
            for ids in tokenizer.encode_batch(batch):
                np.asarray(ids, dtype=NUMPY_DTYPES[dtype]).tofile(out)
                tokens += len(ids)
            done = sum(len(text.encode()) for text in batch)
            size += done
            progress.advance(done)
        os.fsync(out.fileno())
    return Written(tokens, size)
