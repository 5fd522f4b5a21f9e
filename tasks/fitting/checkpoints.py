"""How far a training has come, and how that outlives the process."""

import json
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks.fitting.settings import FitSettings

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far training has come: all that early stopping needs to know."""

    history: dict[str, list[float]] = field(default_factory=dict)
    best_weights: list[np.ndarray] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.history.get("val_loss", ()))

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation loss, counted from 1."""
        losses = self.history["val_loss"]
        return losses.index(min(losses)) + 1

    def is_over(self, settings: FitSettings) -> bool:
        """Whether all epochs are done, or none of the last phase was better for too long."""
        if self.epochs == 0:
            return False
        waited = self.epochs - max(self.best_epoch, settings.last_phase)
        return self.epochs >= settings.epochs or 0 < settings.patience <= waited


class Checkpoint:
    """The state of an unfinished training as one `.npz` file, replaced as a whole each epoch.

    A process can be killed at any moment: what is found is the last complete state, by checksums.

    Args:
        path: The file; its folder is made when needed.
        on_saved: Called after each save, to send the file elsewhere.
    """

    def __init__(self, path: Path, on_saved: Callable[[], None] | None = None) -> None:
        self.path = path
        self._on_saved = on_saved

    def save(self, variables: Sequence[np.ndarray], progress: Progress) -> None:
        """Replaces the saved state.

        Args:
            variables: State of the model and then of its optimizer.
            progress: History and best weights.

        Raises:
            OSError: The file cannot be written.
        """
        arrays = {f"variable_{i}": value for i, value in enumerate(variables)}
        arrays |= {f"best_{i}": value for i, value in enumerate(progress.best_weights)}
        description = {
            "history": progress.history,
            "variables": len(variables),
            "best": len(progress.best_weights),
        }
        encoded = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.unfinished")
        with aside.open("wb") as stream:
            np.savez(stream, allow_pickle=False, description=encoded, **arrays)
        # not flushed to the disk: after a power cut the checksums tell, and flushing costs time
        aside.replace(self.path)
        if self._on_saved:
            self._on_saved()

    def load(self) -> tuple[list[np.ndarray], Progress] | None:
        """The saved variables and progress; None where there are none that can be used."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                description = json.loads(stored["description"].tobytes())
                variables = _numbered(stored, "variable_", description["variables"])
                best = _numbered(stored, "best_", description["best"])
                return variables, Progress(description["history"], best)
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
            logger.warning(
                "The checkpoint %s is damaged (%s); training starts anew", self.path, error
            )
            return None


def _numbered(stored: Any, prefix: str, count: int) -> list[np.ndarray]:
    return [stored[f"{prefix}{index}"] for index in range(count)]
