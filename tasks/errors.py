"""Every error Roundhouse raises on purpose.

Each message says what was received, what was expected, and how to mend it, in that order.

    RoundhouseError
      · PermanentError            a retry cannot cure it
          · ConfigError           a setting, parameter or pipeline name that cannot be used
          · SourceError           source files missing, damaged, or not what they should be
              · ChecksumMismatch  the bytes are not the published ones
          · DataError             the rows cannot be used, whatever the checks say
          · DataCheckFailed       the checks found failures; carries the report's summary
          · TrainingDiverged      the loss is not a finite number any more
          · ProofFailed           the registered version does not do what was trained
          · StorageError          stored bytes missing, changed, or impossible to write
      · ServiceError              a service or the network did not answer; a retry may cure it
"""

from collections.abc import Mapping


class RoundhouseError(Exception):
    """The root: everything that Roundhouse can explain.

    Args:
        message: What was received, what was expected, how to mend it.
        evidence: Stored files to keep with the failed run, by their path among its artefacts.
    """

    def __init__(self, message: str, evidence: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.evidence: Mapping[str, object] = evidence or {}


class PermanentError(RoundhouseError):
    """The same input will fail the same way; never retried."""


class ConfigError(PermanentError, ValueError):
    """A setting, a parameter or a name that cannot be used."""


class SourceError(PermanentError):
    """The source files are missing, damaged, or in another format than the dataset's."""


class ChecksumMismatch(SourceError):
    """The bytes at the location are not those that were published."""


class DataError(PermanentError, ValueError):
    """Rows that no training can use."""


class DataCheckFailed(PermanentError):
    """The data checks found failures."""


class TrainingDiverged(PermanentError, ArithmeticError):
    """The loss turned into something that is not a finite number."""


class ProofFailed(PermanentError):
    """A fresh process could not load the registered version, or got other predictions from it."""


class StorageError(PermanentError, OSError):
    """Stored bytes are missing, are not what they were, or cannot be written."""


class ServiceError(RoundhouseError, ConnectionError):
    """A service or the network did not answer."""
