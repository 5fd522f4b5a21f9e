"""What `make bench` runs: ratios against plain scripts, A B A B in one run, with peak memory.

Memory is that of all processes of a command together, sampled; pages they share count for each.
Usage: run.py [--rounds 3] [--only digits,help,mnist,gate,proof,stack]
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
from pathlib import Path

from appraised import bench_gate, bench_proof
from measuring import HERE, ROUNDHOUSE, Measure, measure, pairs, report
from served import bench_stack

from infra.databases import templates_folder


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


BENCHMARKS = {
    "digits": bench_digits,
    "help": bench_help,
    "mnist": bench_mnist,
    "gate": bench_gate,
    "proof": bench_proof,
    "stack": bench_stack,
}


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
