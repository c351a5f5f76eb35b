"""MLServer: a runtime of our own with four boosters, since its LightGBM runtime holds one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput  # type: ignore[import-not-found]

from loadtests.peers.servers.boosters import Boosters


class Scores(MLModel):  # type: ignore[misc]
    """The least that a runtime may do: numbers are taken from the request and put into the response as they are."""

    async def load(self) -> bool:
        """Load the boosters of `parameters.uri`."""
        self._boosters = Boosters(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The scores of (n_rows, n_features); MLServer joins requests where its settings say so."""
        given = payload.inputs[0]
        X = np.array(getattr(given.data, "root", given.data)).reshape(given.shape)
        scores = self._boosters.rows(X)
        output = ResponseOutput(name="scores", shape=list(scores.shape), datatype="FP64", data=scores.ravel().tolist())
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])
