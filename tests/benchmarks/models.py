"""What `make bench-models` runs: every pipeline on all of its data, and its table in the README.

Each pipeline runs through the real command in one fresh home, so pretrained starts find their
champions there; then its network trains in turn by our loop and by a plain script. Usage:
models.py [--only mnist-mlp,xor] [--rounds 2] [--home FOLDER]
"""

import argparse
import datetime
import json
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
from measuring import HERE, ROUNDHOUSE, measure

README = HERE.parent.parent / "README.md"
BEGIN, END = "<!-- models: made by make bench-models -->", "<!-- models: end -->"
HEAD = (
    "| Pipeline | On the test rows | Bar | Beside it | Seconds | Rows per second, "
    "to a plain script | Parameters | Package |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


# how soon two cores get to 0.991: a quarter of the arithmetic, images as they are
QUICK = (
    "training.epochs=4", "model.convolutions=1",
    "training.shift=0", "training.rotation=0", "training.zoom=0",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One pipeline as it is measured.

    Args:
        pipeline: Its name.
        metric: By which it is judged.
        bar: What the metric must reach: at least, or for an error at most.
        beside: The baseline that is shown beside it.
        changes: `--set`s of another variant than the block's own.
        variant: What to call that.
        lower: Less is better.
    """

    pipeline: str
    metric: str
    bar: float | None
    beside: str = "linear"
    changes: tuple[str, ...] = ()
    variant: str = ""
    lower: bool = False

    @property
    def name(self) -> str:
        return f"`{self.pipeline}`, {self.variant}" if self.variant else f"`{self.pipeline}`"


ROWS = (
    Row("xor", "accuracy", 1.0),
    Row("mnist-mlp", "accuracy", 0.97),
    Row("mnist-mlp", "accuracy", 0.97, changes=("model.dropout=0",), variant="without dropout"),
    Row("mnist-mlp", "accuracy", 0.97, changes=("training.labels=one_hot",), variant="one-hot"),
    Row("mnist-cnn", "accuracy", 0.98),
    Row("mnist-cnn-best", "accuracy", 0.994),
    Row("mnist-cnn-best", "accuracy", 0.991, changes=QUICK, variant="quick"),
    Row("sentiment-lstm", "accuracy", 0.74),
    Row("sentiment-bert", "accuracy", 0.82),
    Row("spam", "f1", 0.93),
    Row("entities-bert", "f1", 0.30, beside="lookup"),
    Row("churn", "roc_auc", 0.84),
    Row("churn-boosting", "roc_auc", 0.84),
    Row("bike-demand", "mae", 47.1, beside="seasonal_naive", lower=True),
    Row("text-generation", "perplexity", None, beside="unigram", lower=True),
    Row("mnist-low", "accuracy", None),
    Row("mnist-transfer", "accuracy", None, changes=("model.initial_weights=null",),
        variant="from nothing"),
    Row("mnist-transfer", "accuracy", None),
)  # fmt: skip


def run_row(row: Row, home: Path, rounds: int) -> str:
    """Runs one pipeline and measures its network; its line of the table."""
    changes = [part for change in row.changes for part in ("--set", change)]
    whole = measure([ROUNDHOUSE, "run", row.pipeline, *changes], ROUNDHOUSE_HOME=str(home))
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(row.pipeline)
    (run,) = client.search_runs([experiment.experiment_id], max_results=1)
    found = run.data.metrics
    beside = next(
        (k for k in found if re.fullmatch(f"baseline/{row.beside}.*/{row.metric}", k)), ""
    )
    value, theirs = found[f"test/{row.metric}"], found.get(beside)
    speed = throughput(run.info.run_id, home, rounds)
    shown = f"{row.beside} {theirs:.4g}" if theirs is not None else ""
    bar = "" if row.bar is None else f"{row.bar:g}"
    if row.bar is not None and (value > row.bar if row.lower else value < row.bar):
        bar = f"{bar}, missed"
    return (
        f"| {row.name} | {row.metric} {value:.4g} | {bar} | {shown} | "
        f"{whole.seconds:,.0f}, training {found['training/seconds']:,.0f} | {speed} | "
        f"{found['training/parameters']:,.0f} | {found['package/bytes'] / 1e6:.1f} MB |"
    )


def throughput(run_id: str, home: Path, rounds: int) -> str:
    """Training rows per second, and to a plain script's: the fastest, and round by round.

    It is empty for what is no network.
    """
    command = [sys.executable, str(HERE / "throughput.py"), run_id, str(rounds)]
    answer = json.loads(measure(command, ROUNDHOUSE_HOME=str(home)).output.splitlines()[-1])
    if not answer:
        return ""
    ratios = sorted(a / b for a, b in zip(answer["ours"], answer["plain"], strict=True))
    fastest = max(answer["ours"])
    ratio = fastest / max(answer["plain"])
    return f"{fastest:,.0f}, {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def machine() -> str:
    """The machine in a line."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = model[1] if model else platform.processor()
    day = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{len(os.sched_getaffinity(0))} cores of {name}, no GPU, {day}"


def rewritten(readme: str, lines: dict[str, str]) -> str:
    """The README with these lines in its table; those of other rows stay."""
    before, rest = readme.split(BEGIN)
    old, after = rest.split(END)
    kept = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| `")}
    kept |= {line.split("|")[1].strip(): line for line in lines.values()}
    shown = [kept[row.name] for row in ROWS if row.name in kept]
    table = "\n".join([f"Measured on {machine()}.", "", *HEAD, *shown])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path)
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else [row.pipeline for row in ROWS]
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder) / "home"
        for row in ROWS:
            if row.pipeline in wanted:
                line = run_row(row, home, arguments.rounds)
                print(line, flush=True)
                README.write_text(rewritten(README.read_text(), {row.name: line}))


main()
