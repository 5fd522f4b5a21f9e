"""What retention may not take: whatever a registered version stands on."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.clusters.retention import collect
from tasks import tracking
from tasks.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, mlflow_database: Path) -> Iterator[Settings]:
    """A home with an empty MLflow; the environment is as before afterwards."""
    before = dict(os.environ)
    shutil.copyfile(mlflow_database, tmp_path / "mlflow.db")
    yield Settings(home=tmp_path, keep_days=1)
    os.environ.clear()
    os.environ.update(before)


def champion(client: Any, name: str, place: Path) -> tuple[str, str, str]:
    """Registers a version with a file; the ids of its experiment, run and logged model."""
    experiment = client.create_experiment(name, artifact_location=(place / name).as_uri())
    run = client.create_run(experiment).info.run_id
    model = client.create_logged_model(experiment, name="model", source_run_id=run)
    files = place / "weights"
    files.mkdir(exist_ok=True)
    (files / "weights.bin").write_text("weights")
    client.log_model_artifacts(model.model_id, str(files))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model(name)
    client.create_model_version(
        name, source=model.artifact_location, run_id=run, model_id=model.model_id
    )
    client.set_registered_model_alias(name, "champion", "1")
    return experiment, run, model.model_id


def test_a_champion_keeps_its_record_and_its_files_whatever_is_deleted(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    client = tracking.client(f"sqlite:///{settings.home / 'mlflow.db'}")
    made = {
        name: champion(client, name, settings.home)
        for name in ("experiment", "run", "model", "nothing")
    }
    free = client.create_experiment("free")
    gone = client.create_run(free).info.run_id
    client.delete_experiment(made["experiment"][0])
    client.delete_run(made["run"][1])
    client.delete_logged_model(made["model"][2])
    client.delete_run(gone)
    with sqlite3.connect(settings.home / "mlflow.db") as database:
        database.execute("UPDATE runs SET deleted_time = 0 WHERE lifecycle_stage = 'deleted'")
        database.execute("UPDATE experiments SET last_update_time = 0")
        database.execute("UPDATE logged_models SET last_updated_timestamp_ms = 0")
    collect(settings)
    for name, (_, run, model) in made.items():
        assert client.get_run(run).info.lifecycle_stage == "active", name
        assert client.get_logged_model(model).model_id == model
        assert list((settings.home / name).rglob("weights.bin")), name
    with pytest.raises(Exception, match=gone):
        client.get_run(gone)
    told = [line for line in caplog.messages if "taken back" in line]
    assert len(told) == 3
    assert f"Logged model {made['model'][2]} was deleted, and version 1 of model" in told[-1]
