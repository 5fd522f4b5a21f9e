"""The only door to the model registry: the versions of one model, their tags and aliases.

Aliases are last-writer-wins in MLflow and cannot be compared and set in one step, so whoever moves
one holds the registry's lock and reads again before writing.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import tracking
from tasks.errors import ServiceError
from tasks.evidence import INITIAL_TAG
from tasks.handoffs import RunContext
from tasks.remote import shown
from tasks.services import service_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
FINGERPRINT, NETWORK, SNAPSHOT = (
    "roundhouse.fingerprint",
    "roundhouse.network",
    "roundhouse.snapshot",
)
# the version whose weights it started from; also a tag of the run
INITIAL = INITIAL_TAG
DATASET = "roundhouse.dataset"
SPLIT, METRICS, PROOF = "roundhouse.split", "roundhouse.metrics", "roundhouse.proof"
VERDICT, JUDGED_AGAINST = "roundhouse.verdict", "roundhouse.judged_against"
# the last thing that is done for a version: the id of the MLflow run that holds its whole lineage
RECORDED = "roundhouse.recorded"
# one tag for each part of a fingerprint
PART_DIGEST = "roundhouse.{}_digest"
# another run's promotion predicts the test rows twice, and draws from them, while it holds the lock
LOCK_SECONDS = 900.0


class Registry:
    """The registered model of a pipeline.

    Args:
        context: Gives the address and the pipeline's name, which is the model's.
        name: Of another registered model.
    """

    def __init__(self, context: RunContext, name: str | None = None) -> None:
        self.name = name or context.pipeline
        self._uri = context.mlflow_uri

    @property
    def client(self) -> "MlflowClient":
        """The client, for what only one stage needs."""
        return tracking.client(self._uri)

    def address(self, version: int) -> str:
        """The registry address of a version."""
        return f"models:/{self.name}/{version}"

    def find(self, tags: Mapping[str, str]) -> int | None:
        """The first version that is ready and has these tags."""
        with service_errors(self._uri):
            wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
            found = self.client.search_model_versions(
                " and ".join([f"name = '{self.name}'", *wanted])
            )
        ready = [int(version.version) for version in found if version.status == "READY"]
        return min(ready, default=None)

    def made_from(self, location: str) -> int | None:
        """The version whose files lie at a location."""
        with service_errors(self._uri):
            found = self.client.search_model_versions(f"source_path = '{location}'")
        return next((int(each.version) for each in found if each.name == self.name), None)

    def version(self, number: int) -> "ModelVersion":
        """A version, with its tags."""
        with service_errors(self._uri):
            return self.client.get_model_version(self.name, str(number))

    def holder(self, alias: str) -> int | None:
        """The version that has an alias now, read afresh."""
        with service_errors(self._uri):
            models = self.client.search_registered_models(f"name = '{self.name}'")
        return int(models[0].aliases.get(alias, 0)) or None if models else None

    def names(self) -> list[str]:
        """The names of all registered models."""
        with service_errors(self._uri):
            return [model.name for model in self.client.search_registered_models()]

    def versions(self) -> tuple[list[int], dict[str, int]]:
        """The numbers of the versions that are ready, ascending, and the version of each alias."""
        with service_errors(self._uri):
            models = self.client.search_registered_models(f"name = '{self.name}'")
            found = self.client.search_model_versions(f"name = '{self.name}'")
        aliases = {
            alias: int(number) for model in models for alias, number in model.aliases.items()
        }
        return sorted(int(v.version) for v in found if v.status == "READY"), aliases

    def fetch(self, number: int, path: str, folder: Path) -> Path | None:
        """Copies a file of a version's package into a folder; None where the package has none.

        Args:
            number: The version.
            path: The file's path inside the package.
            folder: Where the file is put.
        """
        from mlflow.artifacts import download_artifacts, list_artifacts

        with service_errors(self._uri):
            root = self.client.get_model_version_download_uri(self.name, str(number)).rstrip("/")
            place = f"{root}/{path.rpartition('/')[0]}"
            there = list_artifacts(artifact_uri=place, tracking_uri=self._uri)
            if path.rpartition("/")[2] not in {Path(file.path).name for file in there}:
                return None
            return Path(
                download_artifacts(
                    artifact_uri=f"{root}/{path}", dst_path=str(folder), tracking_uri=self._uri
                )
            )

    def file_of_run(self, number: int, name: str) -> bytes | None:
        """A file among the artefacts of the run that made a version; None where there is none.

        Args:
            number: The version.
            name: The file's path among the artefacts.
        """
        run_id = str(self.version(number).run_id)
        with service_errors(self._uri), tempfile.TemporaryDirectory() as folder:
            there = self.client.list_artifacts(run_id, name.rpartition("/")[0] or None)
            if name not in {file.path for file in there}:
                return None
            return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()

    def move(self, alias: str, number: int) -> None:
        """Gives an alias to a version; nothing is written where it has it already."""
        if self.holder(alias) == number:
            return
        with service_errors(self._uri):
            self.client.set_registered_model_alias(self.name, alias, str(number))

    def tag(self, number: int, tags: Mapping[str, str]) -> None:
        """Sets tags of a version."""
        with service_errors(self._uri):
            for key, value in tags.items():
                self.client.set_model_version_tag(self.name, str(number), key, value)

    def describe(self, number: int, text: str) -> None:
        """Replaces what the page of a version says."""
        with service_errors(self._uri):
            self.client.update_model_version(self.name, str(number), text)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """While it lasts, no other process on this machine registers or promotes in this registry.

        Raises:
            ServiceError: Another process has held it for too long.
        """
        from filelock import FileLock, Timeout

        path = _lock_path(self._uri)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(path, timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise ServiceError(
                f"Another process has held the lock {path} on the model registry for more than "
                f"{LOCK_SECONDS:g} s; expected it to be done by then. See what `roundhouse status` "
                "says is running, and run again."
            ) from error


def _lock_path(uri: str) -> Path:
    """Beside a local database, else in the temporary folder, under the address's digest."""
    if uri.startswith("sqlite:///"):
        return Path(f"{uri.removeprefix('sqlite:///')}.lock")
    digest = hashlib.sha256(shown(uri).encode()).hexdigest()
    return Path(tempfile.gettempdir()) / f"roundhouse-{os.getuid()}" / f"{digest}.lock"
