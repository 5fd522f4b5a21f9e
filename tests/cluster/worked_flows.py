"""Small flows whose pods the tests of the states disturb; no tests."""

import logging
import time
from pathlib import Path

from prefect import flow


@flow(name="steps", persist_result=False)
def steps(folder: str, seconds: float, megabytes: int = 0) -> str:
    """Leaves a line per second in a file, and goes on where it stopped; it may grow meanwhile."""
    path, held = Path(folder, "steps"), []
    done = len(path.read_text().splitlines()) if path.exists() else 0
    logging.getLogger(__name__).info("begins after %d steps", done)
    while done < seconds:
        with path.open("a") as file:
            file.write("step\n")
        held.append(bytearray(megabytes << 20))
        done += 1
        time.sleep(1)
    return "worked"


@flow(name="deaf", persist_result=False)
def deaf(folder: str) -> None:
    """Hears no signal, as code of a driver that hangs."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(folder, "deaf").touch()
    time.sleep(600)
