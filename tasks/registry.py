"""The only door to the model registry: the versions of one model, their tags and aliases.

Aliases are last-writer-wins in MLflow and cannot be compared and set in one step, so whoever moves
one holds the registry's lock and reads again before writing: `tasks.aliases` does.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import tracking
from tasks.evidence import INITIAL_TAG
from tasks.handoffs import RunContext
from tasks.history import ALIASES
from tasks.locking import Hold, locked
from tasks.services import service_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.tracking import MlflowClient
CHAMPION, CHALLENGER, PREVIOUS = ALIASES
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
# who took it out of service, when and why; the gate does not put it back
WITHDRAWN = "roundhouse.withdrawn"
# one tag for each part of a fingerprint
PART_DIGEST = "roundhouse.{}_digest"


class Registry:
    """The registered model of a pipeline.

    Args:
        context: Gives the address and the pipeline's name, which is the model's.
        name: Of another registered model.
    """

    def __init__(self, context: RunContext, name: str | None = None) -> None:
        self.name = name or context.pipeline
        self.uri = context.mlflow_uri

    @classmethod
    def at(cls, uri: str, name: str) -> "Registry":
        """The registered model with a name, outside of a run.

        Args:
            uri: Address of the registry.
            name: Its name.
        """
        made = cls.__new__(cls)
        made.uri, made.name = uri, name
        return made

    @property
    def client(self) -> "MlflowClient":
        """The client, for what only one stage needs."""
        return tracking.client(self.uri)

    def address(self, version: int) -> str:
        """The registry address of a version."""
        return f"models:/{self.name}/{version}"

    def find(self, tags: Mapping[str, str]) -> int | None:
        """The first version that is ready and has these tags."""
        with service_errors(self.uri):
            wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
            found = self.client.search_model_versions(
                " and ".join([f"name = '{self.name}'", *wanted])
            )
        ready = [int(version.version) for version in found if version.status == "READY"]
        return min(ready, default=None)

    def made_from(self, location: str) -> int | None:
        """The version whose files lie at a location."""
        with service_errors(self.uri):
            found = self.client.search_model_versions(f"source_path = '{location}'")
        return next((int(each.version) for each in found if each.name == self.name), None)

    def version(self, number: int) -> "ModelVersion":
        """A version, with its tags."""
        with service_errors(self.uri):
            return self.client.get_model_version(self.name, str(number))

    def holder(self, alias: str) -> int | None:
        """The version that has an alias now, read afresh."""
        with service_errors(self.uri):
            models = self.client.search_registered_models(f"name = '{self.name}'")
        return int(models[0].aliases.get(alias, 0)) or None if models else None

    def names(self) -> list[str]:
        """The names of all registered models."""
        with service_errors(self.uri):
            return [model.name for model in self.client.search_registered_models(max_results=1000)]

    def versions(self) -> tuple[list[int], dict[str, int]]:
        """The numbers of the versions that are ready, ascending, and the version of each alias."""
        with service_errors(self.uri):
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

        with service_errors(self.uri):
            root = self.client.get_model_version_download_uri(self.name, str(number)).rstrip("/")
            place = f"{root}/{path.rpartition('/')[0]}"
            there = list_artifacts(artifact_uri=place, tracking_uri=self.uri)
            if path.rpartition("/")[2] not in {Path(file.path).name for file in there}:
                return None
            return Path(
                download_artifacts(
                    artifact_uri=f"{root}/{path}", dst_path=str(folder), tracking_uri=self.uri
                )
            )

    def file_of_run(self, number: int, name: str) -> bytes | None:
        """A file among the artefacts of the run that made a version; None where there is none.

        Args:
            number: The version.
            name: The file's path among the artefacts.
        """
        run_id = str(self.version(number).run_id)
        with service_errors(self.uri), tempfile.TemporaryDirectory() as folder:
            there = self.client.list_artifacts(run_id, name.rpartition("/")[0] or None)
            if name not in {file.path for file in there}:
                return None
            return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()

    def set_alias(self, alias: str, number: int | None) -> None:
        """Gives an alias to a version, or to none at all."""
        with service_errors(self.uri):
            if number is None:
                self.client.delete_registered_model_alias(self.name, alias)
            else:
                self.client.set_registered_model_alias(self.name, alias, str(number))

    def tag(self, number: int, tags: Mapping[str, str]) -> None:
        """Sets tags of a version."""
        with service_errors(self.uri):
            for key, value in tags.items():
                self.client.set_model_version_tag(self.name, str(number), key, value)

    def describe(self, number: int, text: str) -> None:
        """Replaces what the page of a version says."""
        with service_errors(self.uri):
            self.client.update_model_version(self.name, str(number), text)

    def tag_model(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the registered model."""
        with service_errors(self.uri):
            for key, value in tags.items():
                self.client.set_registered_model_tag(self.name, key, value)

    def untag(self, number: int, key: str) -> None:
        """Takes a tag from a version, where it has it."""
        with service_errors(self.uri):
            if key in self.client.get_model_version(self.name, str(number)).tags:
                self.client.delete_model_version_tag(self.name, str(number), key)

    def model(self) -> "RegisteredModel | None":
        """The registered model with its aliases, tags and page, read afresh; None if not there."""
        from mlflow.exceptions import MlflowException

        with service_errors(self.uri):
            try:
                return self.client.get_registered_model(self.name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def describe_model(self, text: str) -> None:
        """Replaces what the page of the registered model says."""
        with service_errors(self.uri):
            self.client.update_registered_model(self.name, text)

    @contextlib.contextmanager
    def lock(self) -> Iterator[Hold]:
        """While it lasts, nobody else registers or promotes versions of this model.

        Raises:
            ServiceError: Another process has held it for too long.
        """
        with locked(self.uri, self.name, _ModelTags(self)) as hold:
            yield hold


class _ModelTags:
    """The tags of a registered model, which is made if there is none."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def read(self) -> Mapping[str, str]:
        model = self._registry.model()
        return dict(model.tags) if model else {}

    def write(self, key: str, value: str) -> None:
        from mlflow.exceptions import MlflowException

        client, name = self._registry.client, self._registry.name
        with service_errors(self._registry.uri):
            if self._registry.model() is None:
                # another may make it at the same moment
                with contextlib.suppress(MlflowException):
                    client.create_registered_model(name)
            client.set_registered_model_tag(name, key, value)

    def remove(self, key: str) -> None:
        with service_errors(self._registry.uri):
            self._registry.client.delete_registered_model_tag(self._registry.name, key)
