import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.errors import SourceError
from tasks.image_folders import find_images, folder_digest


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes with two images each, one of them in a folder further below."""
    folder = tmp_path / "pets"
    for name in ("cats/a.png", "cats/young/b.JPG", "dogs/a.webp", "dogs/c.gif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), len(name), np.uint8)).save(folder / name)
    return folder


def test_the_first_folder_is_the_class(pets: Path) -> None:
    found = find_images(pets)
    assert found.paths == ("cats/a.png", "cats/young/b.JPG", "dogs/a.webp", "dogs/c.gif")
    assert found.labels == ("cats", "cats", "dogs", "dogs")


def test_hidden_files_and_litter_do_not_count(pets: Path) -> None:
    before = folder_digest(pets)
    for name in ("cats/.DS_Store", ".git/x.png", "__MACOSX/cats/a.png", "dogs/Thumbs.db"):
        (pets / name).parent.mkdir(parents=True, exist_ok=True)
        (pets / name).write_bytes(b"litter")
    assert find_images(pets).others == ()
    assert folder_digest(pets) == before


def test_other_files_are_listed(pets: Path) -> None:
    (pets / "README.md").touch()
    (pets / "cats" / "list.csv").touch()
    assert find_images(pets).others == ("README.md", "cats/list.csv")


def test_the_digest_follows_content_names_and_classes(pets: Path) -> None:
    digests = {folder_digest(pets)[0]}
    shutil.move(pets / "cats" / "a.png", pets / "cats" / "z.png")
    digests.add(folder_digest(pets)[0])
    shutil.move(pets / "cats" / "z.png", pets / "dogs" / "z.png")
    digests.add(folder_digest(pets)[0])
    (pets / "dogs" / "z.png").write_bytes(b"other")
    digests.add(folder_digest(pets)[0])
    assert len(digests) == 4


def test_a_folder_elsewhere_has_the_same_digest(pets: Path, tmp_path: Path) -> None:
    shutil.copytree(pets, tmp_path / "copy")
    assert folder_digest(pets) == folder_digest(tmp_path / "copy")


def test_the_folder_of_a_class_may_be_a_link(pets: Path, tmp_path: Path) -> None:
    shutil.move(pets / "dogs", tmp_path / "elsewhere")
    (pets / "dogs").symlink_to(tmp_path / "elsewhere")
    assert find_images(pets).labels == ("cats", "cats", "dogs", "dogs")


def test_what_is_not_a_folder_of_classes_is_refused(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not there; expected a folder with one folder for"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="There is no image in"):
        find_images(tmp_path / "empty")
    (pets / "birds").mkdir()
    with pytest.raises(SourceError, match=r"The folders birds in .* have no image"):
        find_images(pets)
    shutil.copy(pets / "cats" / "a.png", pets / "loose.png")
    with pytest.raises(SourceError, match=r"1 images in .* are of no class: loose\.png"):
        find_images(pets)
