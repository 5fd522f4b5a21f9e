"""MLflow's own scoring server on a loaded model, for as long as it is asked."""

import contextlib
import json
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np

from tasks.errors import ProofFailed

LOOPBACK = "127.0.0.1"
ANSWER_SECONDS, END_SECONDS = 60.0, 10.0
# MLflow tells all of the process that it serves, and never takes it back
SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"


@contextlib.contextmanager
def served(model: Any) -> Iterator[str]:
    """Serves a loaded pyfunc model on a port that the system picks.

    Yields:
        Its address, which nothing beyond this machine can reach.

    Raises:
        ProofFailed: It did not end.
    """
    import uvicorn
    from mlflow.pyfunc import scoring_server

    before = os.environ.get(SERVING)
    with socket.create_server((LOOPBACK, 0)) as listening:
        config = uvicorn.Config(
            scoring_server.init(model),
            log_level="warning",
            # what the choice of itself would find is more than the requirements may have
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(END_SECONDS)
            os.environ.pop(SERVING)
            if before is not None:
                os.environ[SERVING] = before
    if thread.is_alive():
        raise ProofFailed(
            f"MLflow's scoring server was told to end and had not after {END_SECONDS:g} s; "
            "expected it to, as its requests were answered. Run the pipeline again."
        )


def request(address: str, payload: dict[str, Any] | None = None) -> tuple[int, str]:
    """Asks a server: with a payload by POST, as JSON, else by GET.

    Returns:
        The status, and the text of the answer.

    Raises:
        ProofFailed: It did not answer.
    """
    data = None if payload is None else json.dumps(payload).encode()
    asked = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    # a proxy of the environment knows nothing of this machine's own addresses
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except OSError as error:
        raise ProofFailed(
            f"MLflow's scoring server did not answer: {error}; expected it to within "
            f"{ANSWER_SECONDS:g} s. Look for a lack of memory, and run the pipeline again."
        ) from error


def as_payload(rows: Any, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Rows as the server takes them, each number in full.

    Args:
        rows: A frame, or images uint8 [rows, height, width, channels].
        params: What is asked for besides.
    """
    if isinstance(rows, np.ndarray):
        payload: dict[str, Any] = {"inputs": rows.tolist()}
    else:
        # a blank is null in JSON, whatever it was
        plain = rows.astype(object).where(rows.notna(), None)
        split = plain.to_dict("split")
        payload = {"dataframe_split": {name: split[name] for name in ("columns", "data")}}
    return payload | ({"params": params} if params else {})
