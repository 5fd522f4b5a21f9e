"""What `make bench` runs: ratios against plain scripts, A B A B in one run, with peak memory.

Memory is that of all processes of a command together, sampled; pages they share count for each.
Usage: run.py [--rounds 3] [--only digits,help,mnist]
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
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

from infra.databases import templates_folder

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
    # bytecode that may not be written makes whoever comes first pay for all
    ours = ("ROUNDHOUSE_", "MLFLOW_", "PREFECT_", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)} | variables
    data = {k: v for k, v in os.environ.items() if k == "ROUNDHOUSE_DATA_DIR"}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment | data)
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


def bench_digits(rounds: int) -> None:
    """The cold run against the plain script, and the unchanged run against the cold one."""
    again: list[Measure] = []

    def ours(folder: Path) -> Measure:
        home = str(folder / "home")
        cold = measure([ROUNDHOUSE, "run", "digits"], ROUNDHOUSE_HOME=home)
        again.append(measure([ROUNDHOUSE, "run", "digits"], ROUNDHOUSE_HOME=home))
        return cold

    def bare(folder: Path) -> Measure:
        return measure([sys.executable, str(HERE / "bare_digits.py"), str(folder / "home")])

    def bare_on_template(folder: Path) -> Measure:
        (folder / "home").mkdir()
        shutil.copyfile(templates_folder() / "mlflow.db", folder / "home" / "mlflow.db")
        return bare(folder)

    cold, plain = pairs(rounds, ours, bare)
    report("run digits, fresh home / plain script", cold, plain, "1.15")
    warm, plain = pairs(rounds, ours, bare_on_template)
    # our databases are made at installation; here the script's is as well
    report("the same, the script's database made before", warm, plain, "1.15")
    report("run digits, unchanged / cold", again, [*cold, *warm], "0.25")


def bench_help(rounds: int) -> None:
    """`--help` against importing Typer."""
    ours, theirs = pairs(
        rounds * 3,
        lambda _: measure([ROUNDHOUSE, "--help"]),
        lambda _: measure([sys.executable, "-c", "import typer"]),
    )
    report("--help / import typer", ours, theirs, "3.0")


def bench_mnist(rounds: int) -> None:
    """Training rows per second of Conv 32, batch 32, against plain `model.fit`."""
    found = measure([sys.executable, str(HERE / "mnist_fit.py"), str(rounds)])
    answer = json.loads(found.output.strip().splitlines()[-1])
    if "skipped" in answer:
        print(f"{'MNIST cnn, rows per second':<44} skipped: {answer['skipped']}")
        return
    ratios = [a / b for a, b in zip(answer["ours"], answer["plain"], strict=True)]
    a, b = (statistics.median(answer[side]) for side in ("ours", "plain"))
    accuracy = answer["accuracy"]
    print(
        f"{'MNIST cnn, rows per second / plain fit':<44} {statistics.median(ratios):5.2f}  "
        f"({min(ratios):.2f} to {max(ratios):.2f})  goal 1.5    {a:6.0f} / {b:6.0f} rows/s   "
        f"accuracy {accuracy['ours']:.4f} / {accuracy['plain']:.4f}   {found.mebibytes:5.0f} MiB"
    )


BENCHMARKS = {"digits": bench_digits, "help": bench_help, "mnist": bench_mnist}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(BENCHMARKS))
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds;")
    print("ratio: median (least to greatest); seconds and peak memory: ours / the other")
    for name in arguments.only.split(","):
        BENCHMARKS[name](arguments.rounds)


main()
