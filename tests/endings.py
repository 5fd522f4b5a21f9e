"""Runs that end: versions that are judged by the real gate, on figures and rows made for it.

Their predictions are made here and not by networks, so a hundred promotions take seconds. It is
also a program: one of two processes whose runs end together, again and again.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tasks import promotion, tracking
from tasks.appraisal import Slices
from tasks.config import GateConfig
from tasks.handoffs import PreparedData, RunContext, Snapshot, StoredFile
from tasks.judgement import Evaluation, Package, Promotion, Proof, RegisteredModel
from tasks.metrics import measure
from tasks.registry import FINGERPRINT, PROOF
from tasks.rules import Comparison
from tasks.significance import paired_difference

ROWS, CLASSES = 400, ("No", "Yes")
NOTHING = StoredFile(uri="", sha256="", size=0)
TRUTH = np.random.default_rng(0).integers(0, 2, ROWS).astype(np.int32)
# by its version, the share of rows that a model gets right
SKILL = {1: 0.7, 2: 0.8, 3: 0.95, 4: 0.99}
VERIFIED = Proof(
    uri="models:/trial/1", rows=1, largest_difference=0.0, tolerance=1e-4, load_seconds=0.1,
    predict_seconds=0.1,
)  # fmt: skip


def predictions(version: int) -> Any:
    """Probabilities of both classes, float32 [rows, 2]."""
    right = np.random.default_rng(version).permutation(ROWS) < SKILL[version] * ROWS
    certain = np.where(right, TRUTH, 1 - TRUTH) * 0.8 + 0.1
    return np.stack([1 - certain, certain], axis=1).astype(np.float32)


def figures(version: int) -> dict[str, float]:
    return dict(measure("classification", TRUTH, predictions(version), classes=CLASSES))


def compare(
    context: RunContext,
    registry: Any,
    champion: int,
    prepared: Any,
    evaluation: Any,
    slices: Any,
    config: Any,
) -> Comparison:
    """As `tasks.challenge` does, without a network."""
    ours = next(v for v in SKILL if figures(v) == evaluation.metrics)
    found = predictions(ours), predictions(champion)
    difference = paired_difference(
        "classification", config.metric, TRUTH, *found, classes=CLASSES,
        confidence=config.confidence,
    )  # fmt: skip
    return Comparison(champion, ROWS, figures(ours), figures(champion), difference)


def register(context: RunContext, versions: int = 4, name: str = "trial") -> None:
    """Versions of a model, each with its proof and a fingerprint of its own."""
    client = tracking.client(context.mlflow_uri)
    client.create_registered_model(name, description="Made for a test.")
    # a server takes no other place for a version than the artefacts of its run
    source = client.get_run(context.run_id).info.artifact_uri
    for number in range(1, versions + 1):
        tags = {FINGERPRINT: f"{number}" * 64, PROOF: VERIFIED.model_dump_json()}
        client.create_model_version(name, source, run_id=context.run_id, tags=tags)


def end(context: RunContext, version: int, **gate: Any) -> Promotion:
    """The end of the run that made a version: it is judged, and promoted if it has earned it."""
    snapshot = Snapshot(
        dataset="made", problem="classification", file=NOTHING, rows=ROWS, columns=(),
        source_digest="",
    )  # fmt: skip
    prepared = PreparedData.model_construct(snapshot=snapshot, classes=CLASSES)
    evaluation = Evaluation(
        rows=ROWS, metrics=figures(version), baselines={"majority": {"accuracy": 0.5}},
        predictions=NOTHING, pictures={}, report=NOTHING,
    )  # fmt: skip
    registered = RegisteredModel(
        name=context.pipeline, version=version, uri=f"models:/{context.pipeline}/{version}",
        fingerprint=f"{version}" * 64,
    )  # fmt: skip
    proof = VERIFIED.model_copy(update={"uri": registered.uri})
    package = Package(files={}, requirements=(), size=1)
    config = GateConfig(**{"metric": "accuracy", "rule": "better", "minimum_rows": 30, **gate})
    promotion.compare = compare
    found: Promotion = promotion.promote_model.fn(
        context, registered, proof, prepared, evaluation, package, Slices(), config
    )
    return found


def aliases(context: RunContext) -> dict[str, int]:
    model = tracking.client(context.mlflow_uri).get_registered_model(context.pipeline)
    return {name: int(number) for name, number in model.aliases.items()}


def main(place: str, version: str, rounds: str) -> None:
    """Ends a run of each of the models `trial-0`, `trial-1`, ..., each when both are there."""
    folder = Path(place)
    base = RunContext.model_validate_json((folder / "context.json").read_text())
    for number in range(int(rounds)):
        context = base.model_copy(update={"pipeline": f"trial-{number}"})
        (folder / f"{number}-{version}").touch()
        while len(list(folder.glob(f"{number}-*"))) < 2:
            pass
        end(context, int(version))


def ended_together(context: RunContext) -> SimpleNamespace:
    """What became of a model: its moves as its tags keep them, and its aliases."""
    model = tracking.client(context.mlflow_uri).get_registered_model(context.pipeline)
    kept = {key: json.loads(value) for key, value in model.tags.items() if ".move." in key}
    moves = [kept[key] for key in sorted(kept)]
    return SimpleNamespace(moves=moves, aliases=aliases(context), tags=model.tags)


if __name__ == "__main__":
    main(*sys.argv[1:])
