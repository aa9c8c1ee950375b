"""How a config becomes a command and its output becomes records, for our trainer or anybody's."""

from search.trainers.base import (
    Checkpoints,
    Describer,
    Launch,
    MetricsFile,
    NothingRead,
    Records,
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
    "Launch",
    "MetricsFile",
    "NothingRead",
    "PipedDescriber",
    "Records",
    "Trainer",
    "describe_baseline",
    "trainers",
]
