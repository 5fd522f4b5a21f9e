"""What each hand-off shows of a run: the metrics, tags and files that are kept with it."""

import json

from tasks.appraisal_evidence import Evidence, appraisal_evidence, appraisal_outcome
from tasks.contenders import Contender
from tasks.handoffs import CheckedData, Handoff, PreparedData, Snapshot
from tasks.judgement import (
    Evaluation,
    InitialWeights,
    Package,
    Promotion,
    Proof,
    RegisteredModel,
    TrainedModel,
)

# from here on the rows, and not the network, set the pace of a training
LARGE_WAIT_SHARE, WAIT_SECONDS_TOLD = 0.2, 10.0
INITIAL_TAG = "roundhouse.initial"


def evidence_of(handoff: Handoff, *, with_history: bool) -> Evidence:
    """The evidence in a hand-off; of a trained model, each epoch's metrics only if asked for."""
    match handoff:
        case Snapshot():
            return Evidence(
                metrics=(("data/rows", handoff.rows, 0),),
                tags={
                    "roundhouse.snapshot": handoff.file.sha256,
                    "roundhouse.source": handoff.source_digest,
                },
            )
        case CheckedData():
            return Evidence(
                metrics=(
                    ("checks/passed", handoff.passed, 0),
                    ("checks/total", handoff.total, 0),
                    ("checks/warnings", len(handoff.warnings), 0),
                ),
                files={
                    "checks/report.json": handoff.report,
                    "checks/index.html": handoff.data_docs,
                },
            )
        case PreparedData():
            sides = {"train": handoff.train, "validation": handoff.validation, "test": handoff.test}
            counts = tuple((f"data/{name}_rows", arrays.count, 0) for name, arrays in sides.items())
            return Evidence(
                metrics=(*counts, ("data/duplicates", handoff.duplicates, 0)),
                files={"preprocessing.json": handoff.preprocessing},
            )
        case InitialWeights():
            return Evidence(tags={INITIAL_TAG: handoff.sentence})
        case TrainedModel():
            return _of_training(handoff, with_history=with_history)
        case Evaluation():
            return _of_evaluation(handoff)
        case Package():
            return Evidence(metrics=(("package/bytes", handoff.size, 0),))
        case RegisteredModel():
            return Evidence(tags={"roundhouse.version": str(handoff.version)})
        case Proof():
            return _of_proof(handoff)
        case Promotion():
            return _of_promotion(handoff)
        case Contender():
            return _of_contender(handoff)
        case _:
            return appraisal_evidence(handoff)


def dataset_of(handoff: Handoff) -> dict[str, str] | None:
    """The fields of an MLflow dataset for a snapshot; None for other hand-offs."""
    if not isinstance(handoff, Snapshot):
        return None
    columns = [{"name": c.name, "type": c.kind, "required": False} for c in handoff.columns]
    return {
        "name": handoff.dataset,
        # MLflow keeps 36 characters of a digest; the whole one is a tag of the run
        "digest": handoff.file.sha256[:36],
        "source_type": "local",
        "source": json.dumps({"uri": handoff.file.uri}),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps(
            {"num_rows": handoff.rows, "num_elements": handoff.rows * len(columns)}
        ),
    }


def outcome_of(handoff: Handoff) -> str:
    """A hand-off in a few words, as the line that ends its stage."""
    match handoff:
        case Snapshot():
            return f"{handoff.rows:,} rows, {len(handoff.columns)} columns"
        case CheckedData():
            return f"{handoff.passed} of {handoff.total} checks passed"
        case PreparedData(train=train, validation=validation, test=test):
            return f"{train.count:,} train, {validation.count:,} validation, {test.count:,} test"
        case InitialWeights():
            return handoff.sentence
        case TrainedModel():
            return training_in_words(handoff)
        case Evaluation():
            shown = list(handoff.metrics.items())[:2]
            return ", ".join(f"{name} {value:.4f}" for name, value in shown)
        case Package():
            return f"{handoff.size / 1e6:.1f} MB in {len(handoff.files)} files"
        case RegisteredModel():
            return f"{handoff.name} v{handoff.version}"
        case Proof():
            return f"{handoff.rows:,} predictions reproduced; {service_in_words(handoff)}"
        case Contender():
            shown = list(handoff.metrics.items())[:2]
            figures = ", ".join(f"{name} {value:.4f}" for name, value in shown)
            return f"{figures}; {handoff.latency_median_ms:.1f} ms a row"
        case Promotion():
            return "champion" if handoff.champion == handoff.version else "not promoted"
        case _:
            return appraisal_outcome(handoff)


def training_in_words(trained: TrainedModel) -> str:
    """How far the training came, where it tells, and how large the model is."""
    epochs = len(next(iter(trained.history.values()), ()))
    size = f"{trained.parameters:,} parameters"
    return f"best epoch {trained.best_epoch} of {epochs}, {size}" if epochs else size


def waiting_in_words(trained: TrainedModel) -> tuple[str, ...]:
    """What to do where a training waited for its rows so long that it matters; else nothing."""
    wait = trained.data_wait_share or 0.0
    if wait < LARGE_WAIT_SHARE or wait * trained.seconds < WAIT_SECONDS_TOLD:
        return ()
    return (
        f"Training waited {wait:.0%} of the time for its rows, and what it runs on was idle for as "
        "much. Keep the prepared rows on a faster disk (ROUNDHOUSE_HOME), or give the training "
        "more processor cores and memory.",
    )


def service_in_words(proof: Proof) -> str:
    """How a proved version serves: how soon it is there, how large, how fast, and over HTTP."""
    if proof.latency_p99_ms is None or proof.latency_median_ms is None:
        return "how it serves was not tried"
    return (
        f"loaded in {proof.load_seconds:.1f} s with {proof.memory_bytes / 2**20:.0f} MiB, a row in "
        f"{proof.latency_median_ms:.1f} ms (p99 {proof.latency_p99_ms:.1f}), and over HTTP"
    )


def _of_proof(handoff: Proof) -> Evidence:
    measured = {
        "largest_difference": handoff.largest_difference,
        "load_seconds": handoff.load_seconds,
        "predict_seconds": handoff.predict_seconds,
        "memory_bytes": handoff.memory_bytes,
        "latency_median_ms": handoff.latency_median_ms,
        "latency_p99_ms": handoff.latency_p99_ms,
        "served_seconds": handoff.served_seconds,
    }
    return Evidence(
        metrics=tuple((f"proof/{n}", v, 0) for n, v in measured.items() if v is not None)
    )


def _of_training(handoff: TrainedModel, *, with_history: bool) -> Evidence:
    history = tuple(
        (name, value, epoch)
        for name, values in handoff.history.items()
        for epoch, value in enumerate(values, start=1)
    )
    hardware, consumption = handoff.hardware, handoff.consumption
    spent = {"cpu_seconds": consumption.cpu_seconds} if consumption else {}
    if consumption and consumption.energy_joules is not None:
        spent["energy_joules"] = consumption.energy_joules
    if handoff.data_wait_share is not None:
        spent["data_wait_share"] = handoff.data_wait_share
    return Evidence(
        metrics=(
            ("training/parameters", handoff.parameters, 0),
            ("training/best_epoch", handoff.best_epoch, 0),
            ("training/rows_per_second", handoff.rows_per_second, 0),
            ("training/seconds", handoff.seconds, 0),
            *((f"training/{name}", value, 0) for name, value in spent.items()),
            *(history if with_history else ()),
        ),
        tags={
            "roundhouse.hardware": ", ".join(hardware.devices),
            "roundhouse.backend": hardware.backend,
            "roundhouse.precision": hardware.precision,
            "roundhouse.seed": str(handoff.seed),
        },
        files={"network.txt": handoff.summary},
    )


def _of_evaluation(handoff: Evaluation) -> Evidence:
    baselines = tuple(
        (f"baseline/{baseline}/{name}", value, 0)
        for baseline, metrics in handoff.baselines.items()
        for name, value in metrics.items()
    )
    return Evidence(
        metrics=(*((f"test/{n}", v, 0) for n, v in handoff.metrics.items()), *baselines),
        files={
            "evaluation.json": handoff.report,
            **handoff.tables,
            **{f"pictures/{name}": file for name, file in handoff.pictures.items()},
        },
    )


def _of_contender(handoff: Contender) -> Evidence:
    return Evidence(
        metrics=(
            *((f"validation/{name}", value, 0) for name, value in handoff.metrics.items()),
            ("latency/median_ms", handoff.latency_median_ms, 0),
            ("latency/p99_ms", handoff.latency_p99_ms, 0),
        )
    )


def _of_promotion(handoff: Promotion) -> Evidence:
    gains = tuple(
        (f"gate/{'baseline_' if rule.name == 'beat_baseline' else ''}{name}", value, 0)
        for rule in handoff.verdict.rules
        if rule.difference
        for name, value in (
            ("gain", rule.difference.value),
            ("gain_low", rule.difference.low),
            ("gain_high", rule.difference.high),
            ("chance", rule.difference.chance),
        )
    )
    theirs = tuple((f"champion/{n}", v, 0) for n, v in handoff.champion_metrics.items())
    return Evidence(
        metrics=(*theirs, *gains),
        tags={
            "roundhouse.verdict": handoff.verdict.reason,
            "roundhouse.promoted": str(handoff.verdict.promoted).lower(),
        },
    )
