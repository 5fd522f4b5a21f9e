"""How the benchmarks measure: whole processes, two things in turn, the memory of all of them."""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent
ROUNDHOUSE = str(Path(sys.executable).with_name("roundhouse"))
SECONDS_BETWEEN_SAMPLES = 0.2


@dataclass(frozen=True)
class Measure:
    """One run of a command as a whole: seconds, and the peak memory of all of its processes."""

    seconds: float
    mebibytes: float
    output: str


def measure(command: Sequence[str], **variables: str) -> Measure:
    """Runs a command to its end.

    Raises:
        RuntimeError: It failed; its output is in the message.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment(variables)
        )
        samples, ended = [0.0], threading.Event()

        def sample() -> None:
            while not ended.wait(SECONDS_BETWEEN_SAMPLES):
                samples.append(memory(process.pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        status = process.wait()
        seconds = time.perf_counter() - started
        ended.set()
        sampler.join()
        output.seek(0)
        said = output.read().decode(errors="replace")
    if status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{said[-3000:]}")
    return Measure(seconds, max(samples), said)


def environment(variables: dict[str, str]) -> dict[str, str]:
    """The environment without settings of ours, and with the given ones."""
    # bytecode that may not be written makes whoever comes first pay for all
    ours = ("ROUNDHOUSE_", "MLFLOW_", "PREFECT_", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    data = {k: v for k, v in os.environ.items() if k == "ROUNDHOUSE_DATA_DIR"}
    return kept | variables | data


def memory(process_id: int) -> float:
    """Mebibytes of a process and all below it."""
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(process_id)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total / 2**20


def pairs(
    rounds: int, first: Callable[[Path], Measure], second: Callable[[Path], Measure]
) -> tuple[list[Measure], list[Measure]]:
    """Runs two things in turn, each time in a fresh folder."""
    firsts, seconds = [], []
    for _ in range(rounds):
        for run, found in ((first, firsts), (second, seconds)):
            with tempfile.TemporaryDirectory() as folder:
                found.append(run(Path(folder)))
    return firsts, seconds


def report(name: str, ours: list[Measure], theirs: list[Measure], goal: str) -> None:
    """Prints the ratio pair by pair, and the medians that it comes from."""
    ratios = [a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True)]
    a, b = (statistics.median(m.seconds for m in side) for side in (ours, theirs))
    peaks = [max(m.mebibytes for m in side) for side in (ours, theirs)]
    print(
        f"{name:<44} {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})  "
        f"goal {goal:<6} {a:6.2f} s / {b:6.2f} s   {peaks[0]:5.0f} / {peaks[1]:5.0f} MiB",
        flush=True,
    )
