import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.columns import as_labels, as_pixels, typed
from tasks.config import CheckConfig
from tasks.datasets import DATASETS
from tasks.errors import ConfigError, DataCheckFailed
from tasks.handoffs import RunContext, Snapshot
from tasks.snapshots import read_snapshot, write_snapshot
from tasks.storage import Storage
from tasks.validation import check_data, profiled_frame

ROWS = 400


def snapshot_of(context: RunContext, name: str, table: pa.Table, **fields: Any) -> Snapshot:
    dataset, storage = DATASETS[name], Storage(context.storage_uri)
    with storage.workspace() as folder:
        path = Path(folder) / "snapshot.parquet"
        write_snapshot(typed(table, dataset.columns, path), path)
        stored = storage.put_file(path)
    return Snapshot(
        dataset=name,
        problem=dataset.problem,
        file=stored,
        rows=table.num_rows,
        columns=dataset.columns,
        source_digest="0" * 64,
        **fields,
    )


def digits(context: RunContext, rows: int = ROWS, largest: int = 16, **fields: Any) -> Snapshot:
    pixels = np.random.default_rng(0).integers(0, 17, (rows, 64), np.uint8)
    pixels[0, 0] = largest
    table = pa.table({"image": as_pixels(pixels), "digit": as_labels(np.arange(rows) % 10)})
    return snapshot_of(context, "digits", table, **fields)


def test_sound_data_go_on_with_their_report(
    context: RunContext, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        checked = check_data.fn(context, digits(context), CheckConfig())
    assert (checked.passed, checked.total, checked.warnings) == (12, 12, ())
    assert f"12 of 12 checks passed on {ROWS} rows" in caplog.messages
    storage = Storage(context.storage_uri)
    assert json.loads(storage.read_bytes(checked.report))["suite"] == "digits"
    assert b"<h1>Data checks: digits</h1>" in storage.read_bytes(checked.data_docs)


def test_failures_stop_the_run_and_leave_their_evidence(context: RunContext) -> None:
    with pytest.raises(DataCheckFailed, match=r"pixels from 0 to 16; 1 of 400 rows.*row 1 \(99\)"
                       ) as failed:  # fmt: skip
        check_data.fn(context, digits(context, largest=99), CheckConfig())
    assert "checks.warn_only" in str(failed.value)
    assert set(failed.value.evidence) == {"checks/report.json", "checks/index.html"}


def test_warnings_are_told_and_do_not_stop(
    context: RunContext, caplog: pytest.LogCaptureFixture
) -> None:
    config = CheckConfig(warn_only=("range/image_maximum",))
    checked = check_data.fn(context, digits(context, largest=99), config)
    (warning,) = checked.warnings
    assert warning.startswith("image_maximum: expected pixels from 0 to 16")
    assert f"{warning} [range/image_maximum]" in caplog.messages


def test_a_misspelt_check_is_answered_with_the_known_ones(context: RunContext) -> None:
    with pytest.raises(ConfigError, match=r"'range/image'; the known ones are columns, rows,"):
        check_data.fn(context, digits(context), CheckConfig(warn_only=("range/image",)))


def test_the_fewest_rows_come_from_the_suite_or_the_setting(context: RunContext) -> None:
    few = digits(context, rows=200)
    with pytest.raises(DataCheckFailed, match="expected 360 to 1,000,000 rows; came 200"):
        check_data.fn(context, few, CheckConfig())
    assert check_data.fn(context, few, CheckConfig(minimum_rows=200)).total == 12


def test_a_trial_run_may_have_few_rows(context: RunContext) -> None:
    few = digits(context, rows=20, trial=True)
    assert check_data.fn(context, few, CheckConfig()).passed == 12


def test_personal_values_appear_in_no_message_and_no_file(context: RunContext) -> None:
    columns = DATASETS["telco_churn"].columns
    rows = {column.name: ["SECRET" if column.personal else "No"] * ROWS for column in columns}
    numbers = {name: [1.0] * ROWS for name in ("tenure", "MonthlyCharges", "TotalCharges")}
    table = pa.table(rows | numbers)
    with pytest.raises(DataCheckFailed, match="SeniorCitizen") as failed:
        check_data.fn(context, snapshot_of(context, "telco_churn", table), CheckConfig())
    storage = Storage(context.storage_uri)
    files = [storage.read_bytes(file).decode() for file in failed.value.evidence.values()]  # type: ignore[arg-type]
    assert "SECRET" not in str(failed.value) + "".join(files)


def test_images_become_statistics(context: RunContext) -> None:
    snapshot = digits(context)
    frame = profiled_frame(read_snapshot(Storage(context.storage_uri), snapshot), snapshot)
    assert list(frame.columns) == [
        "digit", "image_mean", "image_std", "image_minimum", "image_maximum", "image_copies",
    ]  # fmt: skip
    assert frame["digit"].dtype == "str"
