"""Small flows that a worker of the tests runs in processes of their own; no tests."""

import time
from pathlib import Path
from typing import Literal

from prefect import flow

from tasks.turns import as_superseded, turn


@flow(name="trial", persist_result=False)
def trial(pipeline: str, folder: str, seconds: float, overlap: Literal["wait"] = "wait") -> str:
    """Leaves a line per second in a file of the pipeline's name, and goes on where it stopped."""
    import os

    with turn(pipeline, overlap) as given_up:
        if given_up:
            return as_superseded(given_up, "nothing")
        path = Path(folder, pipeline)
        done = len(path.read_text().splitlines()) if path.exists() else 0
        while done < seconds:
            with path.open("a") as file:
                file.write(f"{os.getpid()}\n")
            done += 1
            time.sleep(1)
        return "worked"


@flow(name="failing", persist_result=False)
def failing(pipeline: str) -> None:
    """Fails with a sentence."""
    raise ValueError(f"{pipeline} has no engine")
