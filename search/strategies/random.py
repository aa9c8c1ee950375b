"""Random search: what every other strategy has to beat."""

from __future__ import annotations

from search.strategies.base import strategies
from search.strategies.draws import Begun, Draw, anywhere
from search.strategies.explored import Explored
from search.strategies.sampling import Sampling


@strategies.variant("random")
class Random(Sampling):
    """Uniform over the values that the rules of the space lead to, within the limits."""

    def draw(self, explored: Explored, index: int, begun: Begun) -> Draw | None:
        """See ``Sampling.draw``."""
        return anywhere(explored.problem, index, begun)
