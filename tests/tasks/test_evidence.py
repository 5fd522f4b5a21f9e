"""What is kept of each hand-off; the hand-offs of one small run, made by the real stages."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.contenders import Contender
from tasks.evidence import dataset_of, evidence_of, outcome_of, waiting_in_words
from tasks.handoffs import CheckedData, Handoff, StoredFile
from tasks.judgement import Difference, Promotion, Proof, Rule, Verdict

FILE = StoredFile(uri="content/aa", sha256="a" * 64, size=3)
PROOF = Proof(
    uri="models:/churn/2", rows=1500, largest_difference=1e-7, tolerance=1e-4, load_seconds=0.5,
    predict_seconds=0.1, memory_bytes=3 << 20, latency_median_ms=2.0, latency_p99_ms=4.5,
    served_rows=16, served_seconds=0.2,
)  # fmt: skip
GAIN = Difference(value=0.01, low=-0.01, high=0.03, confidence=0.95, chance=0.3, rows=60)
RULES = (
    Rule(name="minimum", passed=True, value=0.84, bound=0.8, reason="keeps the minimum of 0.8"),
    Rule(
        name="not_worse", passed=True, value=0.84, bound=0.81, reason="is not worse",
        difference=GAIN,
    ),
)  # fmt: skip
VERDICT = Verdict(promoted=True, rules=RULES, reason="roc_auc 0.84, not worse than v1's 0.83")
PROMOTION = Promotion(
    verdict=VERDICT, version=2, champion_before=1, champion=2, champion_metrics={"roc_auc": 0.83},
    compared_rows=60,
)  # fmt: skip


@pytest.fixture
def made(prepare_table: Any, train_quickly: Any, context: Any) -> SimpleNamespace:
    from tasks.config import EvaluationConfig
    from tasks.evaluation import evaluate_model

    prepared = prepare_table()
    trained = train_quickly(prepared)
    evaluation = evaluate_model.fn(context, prepared, trained, EvaluationConfig())
    return SimpleNamespace(prepared=prepared, trained=trained, evaluation=evaluation)


def figures(handoff: Handoff, *, with_history: bool = False) -> dict[tuple[str, int], float]:
    metrics = evidence_of(handoff, with_history=with_history).metrics
    return {(name, step): value for name, value, step in metrics}


def test_of_a_snapshot_its_rows_and_digests_are_kept(made: Any) -> None:
    snapshot = made.prepared.snapshot
    evidence = evidence_of(snapshot, with_history=False)
    assert evidence.metrics == (("data/rows", 400, 0),)
    assert evidence.tags["roundhouse.snapshot"] == snapshot.file.sha256
    assert outcome_of(snapshot) == "400 rows, 4 columns"


def test_only_a_snapshot_is_a_dataset(made: Any) -> None:
    dataset = dataset_of(made.prepared.snapshot)
    assert len(dataset["digest"]) == 36
    assert json.loads(dataset["profile"]) == {"num_rows": 400, "num_elements": 1600}
    columns = json.loads(dataset["schema"])["mlflow_colspec"]
    assert [column["name"] for column in columns] == ["customer", "months", "plan", "left"]
    assert dataset_of(made.trained) is None


def test_of_the_checks_the_report_and_the_page_are_kept(made: Any) -> None:
    checked = CheckedData(
        snapshot=made.prepared.snapshot, passed=8, total=9, warnings=("one",), report=FILE,
        data_docs=FILE,
    )  # fmt: skip
    evidence = evidence_of(checked, with_history=False)
    assert set(evidence.files) == {"checks/report.json", "checks/index.html"}
    assert figures(checked)["checks/warnings", 0] == 1
    assert outcome_of(checked) == "8 of 9 checks passed"


def test_of_the_split_the_rows_of_each_side_are_kept(made: Any) -> None:
    found = figures(made.prepared)
    assert sum(found[f"data/{side}_rows", 0] for side in ("train", "validation", "test")) == 400
    assert outcome_of(made.prepared).startswith(f"{made.prepared.train.count} train, ")


def test_of_a_training_each_epoch_is_kept_only_if_nobody_logged_it_before(made: Any) -> None:
    assert ("loss", 2) not in figures(made.trained)
    found = figures(made.trained, with_history=True)
    assert (found["loss", 1], found["val_loss", 2]) == (0.7, 0.6)
    assert outcome_of(made.trained).startswith("best epoch 2 of 2, ")


def test_a_training_that_waited_for_its_rows_says_what_to_do(made: Any) -> None:
    assert ("training/data_wait_share", 0) not in figures(made.trained)
    cases = ((0.43, 60.0, True), (0.1, 60.0, False), (0.43, 2.0, False), (None, 60.0, False))
    for share, seconds, is_told in cases:
        told = made.trained.model_copy(update={"data_wait_share": share, "seconds": seconds})
        assert bool(waiting_in_words(told)) is is_told
    waited = made.trained.model_copy(update={"data_wait_share": 0.43, "seconds": 60.0})
    assert waiting_in_words(waited)[0].startswith("Training waited 43% of the time for its rows")
    assert "ROUNDHOUSE_HOME" in waiting_in_words(waited)[0]
    assert figures(waited)["training/data_wait_share", 0] == 0.43


def test_of_an_evaluation_figures_baselines_and_pictures_are_kept(made: Any) -> None:
    evidence = evidence_of(made.evaluation, with_history=False)
    names = {name for name, *_ in evidence.metrics}
    assert {"test/accuracy", "baseline/majority/accuracy"} <= names
    assert "pictures/confusion_matrix.png" in evidence.files
    assert outcome_of(made.evaluation).count(",") == 1


def test_of_proof_and_promotion_the_differences_and_the_verdict_are_kept() -> None:
    assert figures(PROOF)["proof/largest_difference", 0] == 1e-7
    assert figures(PROOF)["proof/latency_p99_ms", 0] == 4.5
    assert figures(PROOF)["proof/memory_bytes", 0] == 3 << 20
    assert outcome_of(PROOF) == (
        "1,500 predictions reproduced; loaded in 0.5 s with 3 MiB, a row in 2.0 ms (p99 4.5), and "
        "over HTTP"
    )
    earlier = PROOF.model_copy(update={"latency_p99_ms": None})
    assert outcome_of(earlier).endswith("how it serves was not tried")
    evidence = evidence_of(PROMOTION, with_history=False)
    assert evidence.tags == {
        "roundhouse.verdict": VERDICT.reason, "roundhouse.promoted": "true",
    }  # fmt: skip
    assert evidence.metrics == (
        ("champion/roc_auc", 0.83, 0), ("gate/gain", 0.01, 0), ("gate/gain_low", -0.01, 0),
        ("gate/gain_high", 0.03, 0), ("gate/chance", 0.3, 0),
    )  # fmt: skip


@pytest.mark.parametrize(("champion", "words"), [(2, "champion"), (1, "not promoted")])
def test_the_outcome_of_a_promotion(champion: int, words: str) -> None:
    assert outcome_of(PROMOTION.model_copy(update={"champion": champion})) == words


def test_of_what_shows_nothing_nothing_is_kept() -> None:
    assert evidence_of(FILE, with_history=True).metrics == ()
    assert outcome_of(FILE) == ""


def test_of_package_and_version_size_and_number_are_kept(release: Any, prepare_table: Any) -> None:
    made = release(prepare_table())
    assert figures(made.package) == {("package/bytes", 0): made.package.size}
    assert f"MB in {len(made.package.files)} files" in outcome_of(made.package)
    assert outcome_of(made.registered) == f"{made.registered.name} v1"


def test_a_training_without_a_history_tells_of_no_epochs(made: Any) -> None:
    trained = made.trained.model_copy(update={"history": {}, "best_epoch": 0})
    assert outcome_of(trained) == f"{trained.parameters:,} parameters"
    assert not any(step for _, step in figures(trained, with_history=True))


def test_a_contender_shows_its_figures_as_those_of_the_validation_rows() -> None:
    contender = Contender(
        rows=10, metrics={"roc_auc": 0.84}, parameters=5, size=9, seconds=1.0,
        latency_median_ms=1.5, latency_p99_ms=4.0, latency_rows=9,
    )  # fmt: skip
    assert figures(contender) == {
        ("validation/roc_auc", 0): 0.84,
        ("latency/median_ms", 0): 1.5,
        ("latency/p99_ms", 0): 4.0,
    }
    assert outcome_of(contender) == "roc_auc 0.8400; 1.5 ms a row"
