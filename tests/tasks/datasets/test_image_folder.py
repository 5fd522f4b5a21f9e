from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.config import IngestionConfig, SplitConfig
from tasks.errors import SourceError
from tasks.handoffs import CheckedData
from tasks.ingestion import ingest_data
from tasks.snapshots import images, read_snapshot
from tasks.sources import find_source
from tasks.storage import Storage
from tasks.validation import strictness_for

SIZE = 16


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty bright and thirty dark images."""
    random, folder = np.random.default_rng(0), tmp_path / "data" / "images"
    for name, low in (("bright", 128), ("dark", 0)):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(low, low + 128, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def ingest(context: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(folder: Path, **changes: Any) -> Any:
        config = IngestionConfig(dataset="image_folder", image_size=SIZE, **changes)
        source = find_source("image_folder", location=str(folder), downloads=tmp_path)
        return ingest_data.fn(context, source, config)

    return run


def test_a_folder_becomes_rows_of_images_with_their_labels(
    photos: Path, ingest: Callable[..., Any], context: Any
) -> None:
    snapshot = ingest(photos)
    assert (snapshot.rows, snapshot.labels, snapshot.warnings) == (60, ("bright", "dark"), ())
    table = read_snapshot(Storage(context.storage_uri), snapshot)
    pixels = images(table, snapshot.columns[0])
    assert pixels.shape == (60, SIZE, SIZE, 3)
    for index, (label, file) in enumerate(
        zip(table["label"].to_pylist(), table["file"].to_pylist(), strict=True)
    ):
        assert file.startswith(f"{label}/")
        np.testing.assert_array_equal(pixels[index], np.asarray(Image.open(photos / file)))


def test_the_folder_is_found_below_the_data_folder(photos: Path, tmp_path: Path) -> None:
    found = find_source("image_folder", data_dir=str(photos.parent), downloads=tmp_path)
    assert found.location == str(photos)
    assert found == find_source("image_folder", location=str(photos), downloads=tmp_path)


@pytest.mark.parametrize("location", [None, "s3://bucket/images", "https://host/images?key=1"])
def test_a_folder_has_to_be_on_this_machine(location: str | None, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected a folder of this machine") as raised:
        find_source("image_folder", location=location, downloads=tmp_path)
    assert "key" not in str(raised.value)


def test_images_of_another_size_are_told_with_their_number(
    photos: Path, ingest: Callable[..., Any]
) -> None:
    Image.new("L", (5, 9), 140).save(photos / "bright" / "small.jpg")
    (photos / "notes.txt").touch()
    assert ingest(photos).warnings == (
        "1 of 61 images were of another size and are 16 x 16 now: bright/small.jpg.",
        "1 files that are no images were left out: notes.txt.",
    )


def test_a_damaged_image_is_refused_by_name_or_left_out(
    photos: Path, ingest: Callable[..., Any]
) -> None:
    for number in range(7):
        (photos / "dark" / f"{number}.png").write_bytes(b"damaged")
    with pytest.raises(SourceError, match=r"7 of 60 images.*dark/0\.png.* and 2 more") as raised:
        ingest(photos)
    assert "ingestion.damaged=leave_out" in str(raised.value)
    snapshot = ingest(photos, damaged="leave_out")
    assert snapshot.rows == 53
    assert snapshot.warnings[0].startswith("7 of 60 images could not be read and were left out")


def test_a_class_does_not_vanish_with_its_damaged_images(
    photos: Path, ingest: Callable[..., Any]
) -> None:
    for path in (photos / "dark").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(SourceError, match="Not one image of the class dark"):
        ingest(photos, damaged="leave_out")


def test_an_image_that_changes_while_it_is_read_is_noticed(
    photos: Path, tmp_path: Path, context: Any
) -> None:
    source = find_source("image_folder", location=str(photos), downloads=tmp_path)
    (photos / "dark" / "0.png").write_bytes((photos / "dark" / "1.png").read_bytes())
    config = IngestionConfig(dataset="image_folder", image_size=SIZE)
    with pytest.raises(SourceError, match="was changed while it was read"):
        ingest_data.fn(context, source, config)


def test_the_checks_know_the_labels_of_the_folder(
    photos: Path, ingest: Callable[..., Any], context: Any
) -> None:
    from data_checks.runner import run_checks
    from tasks.config import CheckConfig
    from tasks.validation import profiled_frame

    snapshot = ingest(photos)
    frame = profiled_frame(read_snapshot(Storage(context.storage_uri), snapshot), snapshot)
    strictness = strictness_for(CheckConfig(), snapshot)
    assert run_checks(frame, "image_folder", strictness)[0].failures == ()
    frame.loc[0, "label"] = "purple"
    failed = {failure.check for failure in run_checks(frame, "image_folder", strictness)[0].errors}
    assert "categories/label" in failed


def test_the_same_image_in_two_files_stays_on_one_side(
    photos: Path, ingest: Callable[..., Any], context: Any
) -> None:
    from tasks.config import PreparationConfig
    from tasks.preprocessing import prepare_data

    for path in list((photos / "dark").iterdir()):
        (photos / "dark" / f"copy-{path.name}").write_bytes(path.read_bytes())
    snapshot = ingest(photos)
    file = snapshot.file
    checked = CheckedData(
        snapshot=snapshot, passed=1, warnings=(), total=1, report=file, data_docs=file
    )
    prepared = prepare_data.fn(context, checked, SplitConfig(), PreparationConfig())
    assert prepared.duplicates == 0
    assert prepared.input_shape == (SIZE, SIZE, 3)
