"""What a trial wrote becomes sightings: one reader per file, joined to the family in ``base``."""

from search.trainers.readers import csv, file, jsonl, regex, tensorboard
from search.trainers.readers.base import readers

__all__ = ["csv", "file", "jsonl", "readers", "regex", "tensorboard"]
