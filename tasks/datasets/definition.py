"""What a dataset is: where its files lie, which columns it has, and how they are read."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import SourceError
from tasks.handoffs import Column, Problem

if TYPE_CHECKING:
    import pyarrow

    from tasks.config import IngestionConfig

# key in the metadata of a table's schema: a JSON list of sentences on what was done as it was read
NOTES = "notes"


@dataclass(frozen=True)
class PublishedFile:
    """One source file as its publisher offers it.

    Args:
        name: File name without `.gz`.
        sha256: Digest of the unpacked bytes; None where none was published.
        url: Public address, of the packed or the unpacked file; None for bundled files.
        make: Writes the file, the same bytes each time, for data that are made and not measured.
    """

    name: str
    sha256: str | None = None
    url: str | None = None
    make: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset that pipelines can name.

    Args:
        name: As in `ingestion.dataset`, and of the suite in `data_checks/suites`.
        title: What it is, in a few words.
        problem: What is predicted.
        columns: Every column of its snapshot, in order.
        files: Its source files.
        folder: Folder of the files below a location; the location itself is looked in as well.
        read: Reads the files, by published name, into a table of the columns.
        classes: The labels that are expected, in order; empty for regression.
        bundled: Python package that ships the files, and the folder inside it.
        is_folder: The source is one whole folder of images, whatever the names in it, and not
            `files`; `read` gets the folder.
        configured: Makes the dataset that a configuration asks for, where its columns or how it
            is read depend on it.
    """

    name: str
    title: str
    problem: Problem
    columns: tuple[Column, ...]
    files: tuple[PublishedFile, ...]
    folder: str
    read: Callable[[Mapping[str, Path]], pyarrow.Table]
    classes: tuple[str, ...] = ()
    bundled: tuple[str, str] | None = None
    is_folder: bool = False
    configured: Callable[[IngestionConfig], Dataset] | None = None

    @property
    def label(self) -> Column:
        """The column that is predicted; of a text that is to go on, the text itself."""
        role = "feature" if self.problem == "text_generation" else "label"
        return next(column for column in self.columns if column.role == role)

    @property
    def bundled_folder(self) -> Path | None:
        """Where an installed package holds the files; the package is not imported.

        Raises:
            SourceError: The package that ships the files is not installed.
        """
        if self.bundled is None:
            return None
        package, folder = self.bundled
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise SourceError(
                f"The files of {self.name} come with the package {package}, which is not "
                "installed. Install requirements.lock, or set ingestion.location."
            )
        return Path(spec.origin).parent / folder
