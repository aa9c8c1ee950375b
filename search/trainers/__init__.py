"""How a config becomes a command and its output becomes records, for our trainer or anybody's."""

from search.trainers.base import (
    Checkpoints,
    Describer,
    MetricsFile,
    NothingRead,
    Records,
    Surroundings,
    Trainer,
    describe_baseline,
    trainers,
)
from search.trainers.builtin import Builtin, PipedDescriber
from search.trainers.foreign import Foreign

__all__ = [
    "Builtin",
    "Checkpoints",
    "Describer",
    "Foreign",
    "MetricsFile",
    "NothingRead",
    "PipedDescriber",
    "Records",
    "Surroundings",
    "Trainer",
    "describe_baseline",
    "trainers",
]
