"""LitServe: one API server and one worker process, which it always has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np

from loadtests.peers.servers.boosters import Boosters


class Scores(litserve.LitAPI):  # type: ignore[misc]
    """The least that an API may do."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(**options)
        self._directory = directory

    def setup(self, device: str) -> None:
        """Load the boosters, in the worker."""
        self._boosters = Boosters(self._directory)

    def decode_request(self, request: dict[str, list[float]]) -> list[float]:
        """The row."""
        return request["features"]

    def predict(self, x: Any) -> Any:
        """The scores of one row, or of the rows that `batch` joined."""
        return self._boosters.rows(x) if isinstance(x, np.ndarray) else self._boosters.row(x)

    def batch(self, inputs: list[list[float]]) -> Any:
        """Rows of several requests as one matrix."""
        return np.array(inputs)

    def unbatch(self, output: Any) -> list[list[float]]:
        """A row of scores a request."""
        return output.tolist()  # type: ignore[no-any-return]

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """The answer."""
        return {"scores": output}


def main(setting: str, port: str, directory: str) -> None:
    """Serve, requests through its faster queue where `setting` says so."""
    batching = {"max_batch_size": 8, "batch_timeout": 0.0} if "batch" in setting else {}
    api = Scores(Path(directory), **batching)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue="fast queue" in setting)
    server.run(
        host="127.0.0.1",
        port=int(port),
        num_api_servers=1,
        log_level="error",
        generate_client_file=False,
        access_log=False,
        loop="uvloop",
        http="httptools",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
