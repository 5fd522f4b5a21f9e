"""A trained network without its smallest weights, trained on with what is left."""

import dataclasses
import logging
from typing import TYPE_CHECKING

from tasks import devices
from tasks.config import ExportConfig, TrainingConfig
from tasks.handoffs import PreparedData, StoredFile
from tasks.judgement import TrainedModel
from tasks.models.archive import open_network, save_network
from tasks.network_training import fit_settings
from tasks.storage import Storage

if TYPE_CHECKING:
    from tasks.fitting import FitSettings

logger = logging.getLogger(__name__)


def fine_tuning_settings(
    prepared: PreparedData, trained: TrainedModel, training: TrainingConfig, epochs: int
) -> "FitSettings":
    """The settings of the training, for the epochs after pruning.

    They are as those at its end: a backbone that was frozen throughout stays so, another is trained
    by the rate of its own fine-tuning.

    Args:
        prepared: The rows.
        trained: The network.
        training: How it was trained.
        epochs: Epochs of fine-tuning.
    """
    settings = fit_settings(
        prepared,
        training,
        devices.find_hardware(training.precision),
        starts_trained=trained.initial.network is not None,
    )
    was_frozen = training.frozen_epochs >= training.epochs
    return dataclasses.replace(
        settings, epochs=epochs, frozen_epochs=epochs if was_frozen else 0, patience=0
    )


def pruned_network(
    storage: Storage,
    prepared: PreparedData,
    trained: TrainedModel,
    training: TrainingConfig,
    config: ExportConfig,
) -> StoredFile:
    """Prunes a trained network, fine-tunes it on the training rows, and stores it.

    The weights are those of the fine-tuning's best epoch, by the validation loss.

    Raises:
        DivergedError: The loss is not a finite number any more.
    """
    from tasks import fitting

    epochs = config.fine_tuning_epochs
    with (
        devices.repeatable(training.seed, deterministic=training.deterministic),
        storage.workspace() as folder,
    ):
        network = open_network(storage.path(trained.network))
        zeros = fitting.prune(network, config.pruning)
        logger.info("%s weights are pruned; %d epochs of fine-tuning", f"{zeros:,}", epochs)
        if epochs:
            with fitting.zeros_kept(network):
                fitting.fit(
                    network,
                    storage.inputs_and_labels(prepared.train),
                    storage.inputs_and_labels(prepared.validation),
                    fine_tuning_settings(prepared, trained, training, epochs),
                    on_epoch=_tell,
                )
        save_network(network, folder / "network.keras")
        return storage.put_file(folder / "network.keras")


def _tell(epoch: int, metrics: dict[str, float]) -> None:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    logger.info("fine-tuning, epoch %d: %s", epoch, figures)
