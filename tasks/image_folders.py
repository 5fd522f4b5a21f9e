"""A folder with one folder of images per class: which images it holds, and a digest of them all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import SourceError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
# what systems leave behind, beside hidden files
LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")
NAMES_SHOWN = 5
LAYOUT = "one folder for each class, with its images in it (" + ", ".join(SUFFIXES) + ")"


@dataclass(frozen=True)
class ImageFiles:
    """The images of a folder.

    Args:
        paths: Of each image, its path relative to the folder; sorted.
        labels: Of each image, its class: the first folder on that path.
        others: Files that are no images, relative to the folder.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    others: tuple[str, ...]


def find_images(folder: Path) -> ImageFiles:
    """The images of a folder, also those in folders inside the folders of the classes.

    Raises:
        SourceError: The folder is not there, has no image, an image outside of any class, or a
            class without an image.
    """
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is {'a file' if folder.exists() else 'not there'}; expected a folder with "
            f"{LAYOUT}. Correct ingestion.location."
        )
    files = sorted(_files(folder))
    images = [path for path in files if Path(path).suffix.lower() in SUFFIXES]
    if not images:
        raise SourceError(
            f"There is no image in {folder}, which has {len(files):,} other files; expected "
            f"{LAYOUT}. Correct ingestion.location."
        )
    if loose := [path for path in images if "/" not in path]:
        raise SourceError(
            f"{len(loose):,} images in {folder} are of no class: {named(loose)}; expected "
            f"{LAYOUT}. Move them into the folder of their class, or away."
        )
    labels = tuple(path.partition("/")[0] for path in images)
    classes = {found.name for found in folder.iterdir() if found.is_dir() and _counts(found.name)}
    if empty := sorted(classes - set(labels)):
        raise SourceError(
            f"The folders {named(empty)} in {folder} have no image; expected {LAYOUT}. Fill them, "
            "or remove them if they are no classes."
        )
    return ImageFiles(tuple(images), labels, tuple(sorted(set(files) - set(images))))


def folder_digest(folder: Path) -> tuple[str, int]:
    """The sha256 over the path and content of every image of a folder, and their bytes in all.

    Raises:
        SourceError: As `find_images`; or an image cannot be read.
    """
    paths = find_images(folder).paths
    with ThreadPoolExecutor() as threads:
        contents = list(threads.map(lambda path: _file_digest(folder / path), paths))
    lines = [f"{path}\0{digest}" for path, (digest, _) in zip(paths, contents, strict=True)]
    whole = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape"))
    return whole.hexdigest(), sum(size for _, size in contents)


def named(names: list[str]) -> str:
    """The first few of some names."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _files(folder: Path) -> Iterator[str]:
    """Every file that counts, relative to the folder, with slashes."""
    # the folder of a class may be a link; links further below could lead in a circle
    for top in sorted(folder.iterdir()):
        if not _counts(top.name):
            continue
        if not top.is_dir():
            yield top.name
        for place, folders, files in os.walk(top):
            folders[:] = [name for name in folders if _counts(name)]
            for name in filter(_counts, files):
                yield (Path(place) / name).relative_to(folder).as_posix()


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in LITTER


def _file_digest(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return digest, stream.tell()
    except OSError as error:
        raise SourceError(
            f"The image {path} cannot be read ({error.strerror}); expected a file that this user "
            "may read. Mend its permissions, or move it away."
        ) from error
