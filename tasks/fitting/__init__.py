"""The training loop: a Keras model and arrays in, the best epoch's weights and the history out.

This folder imports Keras, NumPy and the standard library only, so that it alone can be carried to a
machine that has nothing else of ours. The loop is Keras's own `model.fit`; what is added happens
once per epoch, and once per phase.
"""

from tasks.fitting.checkpoints import Checkpoint, Progress
from tasks.fitting.gathering import MissingProcessError
from tasks.fitting.loop import DivergedError, fit
from tasks.fitting.parallel import IndivisibleBatchError, spread
from tasks.fitting.phases import BackboneError
from tasks.fitting.processes import end_with_parent, is_first, join, run_and_leave, wait_for_all
from tasks.fitting.pruning import prunable_weights, prune, zeros_kept
from tasks.fitting.settings import FitResult, FitSettings, Problem

__all__ = [
    "BackboneError",
    "Checkpoint",
    "DivergedError",
    "FitResult",
    "FitSettings",
    "IndivisibleBatchError",
    "MissingProcessError",
    "Problem",
    "Progress",
    "end_with_parent",
    "fit",
    "is_first",
    "join",
    "prunable_weights",
    "prune",
    "run_and_leave",
    "spread",
    "wait_for_all",
    "zeros_kept",
]
