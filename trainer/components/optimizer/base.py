"""What every optimizer keeps, and which parameters it is told apart by.

These do not derive from ``torch.optim.Optimizer``: constructing one imports torch's compiler, which
takes longer than many a small trial trains, and its hooks, groups and closures have no use here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from spec.family import Component, Family

Named = tuple[str, nn.Parameter]
"""A parameter and its dotted name in the model."""

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Updater(ABC):
    """A built optimizer: turns the gradients that lie in ``parameter.grad`` into a step."""

    @abstractmethod
    def step(self, factor: float) -> None:
        """Update every parameter in place.

        Args:
            factor: The schedule's multiplier of the learning rate.
        """

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The live tensors that a checkpoint keeps; copying into them restores the optimizer."""


class Optimizer(Component):
    """Options of an optimizer; the learning rate is the schedule's peak."""

    learning_rate: Rate = 1e-3
    """Peak learning rate."""

    @abstractmethod
    def build(self, named: Iterable[Named]) -> Updater:
        """An updater of these parameters."""


optimizers = Family[Optimizer](
    "optimizer",
    "gradients in, a step on every parameter out; nothing outside its state is remembered",
)


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix, or a stack of them, inside a layer."""
    return parameter.ndim >= 2 and name.startswith("layers.")


def restore(updater: Updater, saved: Mapping[str, Tensor]) -> None:
    """Copy a checkpoint's tensors into an updater's state.

    Raises:
        KeyError: When the saved state is another optimizer's or another model's.
    """
    for name, tensor in updater.state().items():
        tensor.copy_(saved[name])
