"""Training from a registered version, and on a folder of images, through the real command."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SMALL = ("ingestion.rows=1500", "training.epochs=1", "model.filters=[4]")


def with_changes(*changes: str) -> Iterable[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.fixture
def digits_in_folders(tmp_path: Path) -> Callable[..., Path]:
    """Writes digits as a folder of images per class: (labels, rows) -> the folder."""

    def write(labels: tuple[int, ...], rows: int) -> Path:
        from sklearn.datasets import load_digits

        digits = load_digits()
        for label in labels:
            folder = tmp_path / "images" / f"digit {label}"
            folder.mkdir(parents=True)
            for number in np.flatnonzero(digits.target == label)[:rows]:
                pixels = (digits.images[number] * 15.9).astype(np.uint8)
                Image.fromarray(pixels.repeat(4, 0).repeat(4, 1)).save(folder / f"{number}.png")
        return tmp_path / "images"

    return write


def test_other_labels_start_from_a_registered_version_and_say_so(
    roundhouse: Any, prefect_server: str, data_dir: str | None, real_data: Callable[[str], Path]
) -> None:
    real_data("mnist")
    place = {"ROUNDHOUSE_DATA_DIR": data_dir, "ROUNDHOUSE_PREFECT_API_URL": prefect_server}
    missing = roundhouse("run", "mnist-transfer", *with_changes(*SMALL), **place)
    assert missing.returncode != 0
    assert "no version of 'mnist-low' is registered" in " ".join(missing.stderr.split())

    first = roundhouse("run", "mnist-low", *with_changes(*SMALL), **place)
    assert first.returncode == 0, first.stderr
    # a slice is for no service, so it has the alias of a challenger and not of a champion
    start = (*SMALL, "model.initial_weights=models:/mnist-low@challenger")
    done = roundhouse("run", "mnist-transfer", *with_changes(*start), **place)
    assert done.returncode == 0, done.stderr
    assert "models:/mnist-low/1 (models:/mnist-low@challenger)" in done.stdout
    run = roundhouse.runs("mnist-transfer")[0]
    assert run.data.metrics["data/train_rows"] == 250
    assert run.data.tags["roundhouse.initial"].startswith("models:/mnist-low/1")
    version = roundhouse.client.get_model_version("mnist-transfer", "1")
    assert version.tags["roundhouse.initial"] == run.data.tags["roundhouse.initial"]
    assert "Started from: `models:/mnist-low/1" in version.description
    path = roundhouse.client.download_artifacts(run.info.run_id, "lineage.json")
    initial = json.loads(Path(path).read_text())["trained"]["initial"]
    assert (initial["name"], initial["version"]) == ("mnist-low", 1)
    network = roundhouse.client.get_model_version("mnist-low", "1").tags["roundhouse.network"]
    assert initial["network"]["sha256"] == network


@pytest.mark.slow
def test_a_pipeline_goes_on_from_its_own_champion_and_is_up_to_date_after_it(
    roundhouse: Any, prefect_server: str
) -> None:
    place = {"ROUNDHOUSE_PREFECT_API_URL": prefect_server}
    first = roundhouse("run", "digits", *with_changes("training.epochs=3"), **place)
    assert first.returncode == 0, first.stderr
    again = with_changes(
        "training.epochs=3", "model.initial_weights=models:/digits/1", "gate.margin=0.9"
    )
    done = roundhouse("run", "digits", *again, **place)
    assert done.returncode == 0, done.stderr
    before, after = (run.info.run_id for run in reversed(roundhouse.runs("digits")))
    losses = [
        roundhouse.client.get_metric_history(run_id, "val_loss")[0].value
        for run_id in (before, after)
    ]
    assert losses[1] < losses[0] / 2
    assert "up to date" in roundhouse("run", "digits", *again, **place).stdout


@pytest.mark.slow
def test_a_folder_of_images_through_vgg16(
    roundhouse: Any, prefect_server: str, digits_in_folders: Callable[..., Path]
) -> None:
    folder = digits_in_folders((0, 1), 40)
    (folder / "digit 0" / "broken.png").write_bytes(b"broken")
    changes = (
        f"ingestion.location={folder}", "ingestion.image_size=32", "model.hidden_units=[8]",
        "training.epochs=1", "training.frozen_epochs=0", "gate.beat_baseline=false",
    )  # fmt: skip
    place = {"ROUNDHOUSE_PREFECT_API_URL": prefect_server}
    refused = roundhouse("run", "image-vgg16", *with_changes(*changes), **place)
    assert "digit 0/broken.png (not an image)" in " ".join(refused.stderr.split())

    left_out = (*changes, "ingestion.damaged=leave_out", "model.pretrained=null")
    done = roundhouse("run", "image-vgg16", *with_changes(*left_out), **place)
    assert done.returncode == 0, done.stderr
    assert "1 of 81 images could not be read and were left out" in " ".join(done.stdout.split())
    assert roundhouse.registry()[0][0] == "image-vgg16"
