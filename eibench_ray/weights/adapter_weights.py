"""An adapter's weights on the node of the engine that adds them to its own."""

from __future__ import annotations

from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import Adapter
from eibench_ray.weights.node_weights import Weights
from eibench_ray.weights.weights_request import WeightsRequest


class LoadedAdapter:
    """One adapter of a replica. One that cannot be had costs its own rows, not the engine's others.

    Attributes:
        reason: why it cannot be had, with what to do; empty: it can, as far as is known.
    """

    def __init__(self, adapter: Adapter, request: WeightsRequest) -> None:
        self.adapter = adapter
        self.weights = Weights(request)
        self.reason = ""

    def bring(self) -> None:
        """Returns once its files are here, or it is known why not."""
        try:
            self.weights.bring()
        except EngineError as error:
            self.reason = str(error)
