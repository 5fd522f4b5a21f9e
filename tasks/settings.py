"""Places and addresses, from ROUNDHOUSE_* variables; read once, at the edge."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.errors import ConfigError
from tasks.keys import decode_key
from tasks.remote import holds_secret, shown

PROJECT_FOLDER = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where things are. What is trained, and how, is not here but in `tasks.config`."""

    model_config = SettingsConfigDict(
        env_prefix="ROUNDHOUSE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(
        default=Path(".roundhouse"),
        description="The folder that holds everything when nothing else is said: "
        "databases, artefacts, stored data, logs.",
    )
    data_dir: str | None = Field(
        default=None,
        # an address can hold a password
        repr=False,
        description="A folder, http(s) address or object-store address that holds the source "
        "files of the datasets, instead of their public addresses.",
    )
    storage: str | None = Field(
        default=None,
        description="Where snapshots, checkpoints and packages are stored, as a folder or an "
        "fsspec address such as s3://bucket/prefix. Default: storage/ in the home.",
    )
    storage_key: SecretStr | None = Field(
        default=None,
        description="Key with which all that is stored there is encrypted: 32 random bytes, as "
        "`openssl rand -hex 32` prints them. Default: nothing is encrypted.",
    )
    privacy_key: SecretStr | None = Field(
        default=None,
        description="Key by which personal identifiers are hashed, in the same form; the same for "
        "all machines of a team. Default: one that is made once in the home.",
    )
    tracking_uri: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("ROUNDHOUSE_TRACKING_URI", "MLFLOW_TRACKING_URI"),
        description="Address of the MLflow server; MLFLOW_TRACKING_URI is understood as well. "
        "Default: an SQLite database in the home.",
    )
    mlflow_public_url: str | None = Field(
        default=None,
        description="Where people's browsers find MLflow's pages, if not at the address by which "
        "runs reach it; links in the Prefect UI and in messages lead there.",
    )
    prefect_api_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("ROUNDHOUSE_PREFECT_API_URL", "PREFECT_API_URL"),
        description="Address of the Prefect API, ending in /api; PREFECT_API_URL is understood as "
        "well. Default: a server that is started for the run, on a database in the home.",
    )
    prefect_port: int = Field(
        default=4200, ge=1, le=65535, description="Port of the Prefect pages of `roundhouse up`."
    )
    mlflow_port: int = Field(
        default=5000, ge=1, le=65535, description="Port of the MLflow pages of `roundhouse up`."
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address on which `roundhouse up` listens; any other than this machine's own "
        "needs a password.",
    )
    user: str = Field(
        default="admin",
        pattern=r"^[^:\s]+$",
        description="User of both servers, where there is a password.",
    )
    password: SecretStr | None = Field(
        default=None,
        min_length=12,
        description="Password of both servers, of 12 characters or more. Default: none is asked "
        "for, and nobody but this machine is let in.",
    )
    password_file: Path | None = Field(
        default=None, description="A file that holds the password, instead."
    )
    allowed_hosts: str = Field(
        default="",
        description="Names under which others reach the servers, such as models.example.org, with "
        "commas between; for MLflow's host check and the browsers' origins.",
    )
    prefect_database: SecretStr | None = Field(
        default=None,
        description="Database of the Prefect server of `roundhouse up`, as "
        "postgresql://user:password@host/name. Default: SQLite in the home.",
    )
    mlflow_database: SecretStr | None = Field(
        default=None,
        description="Database of the MLflow server of `roundhouse up`, in the same form.",
    )
    redis: SecretStr | None = Field(
        default=None,
        description="Redis for several Prefect server processes on one database, as "
        "redis://host:6379/0.",
    )
    artifacts: str | None = Field(
        default=None,
        description="Where MLflow keeps artefacts, as a folder or an address such as "
        "s3://bucket/prefix. Default: artifacts/ in the home.",
    )
    pool: str = Field(
        default="local",
        pattern=r"^[^/%&><]+$",
        description="Work pool of the worker of `roundhouse up`; on Kubernetes `kubernetes` "
        "unless it is given.",
    )
    image: str | None = Field(
        default=None,
        description="Image of the runs on Kubernetes, with a version as its tag, such as "
        "registry.example.org/roundhouse:1.2.3.",
    )
    namespace: str = Field(
        default="roundhouse",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Namespace of the cluster in which runs are Jobs.",
    )
    runs_at_once: int = Field(
        default=2, ge=1, description="Runs at once of the worker of `roundhouse up`."
    )
    gpu_runs: int = Field(
        default=1, ge=1, description="Trainings at once on GPUs, over all workers."
    )
    training_job: str | None = Field(
        default=None,
        pattern=r"^\s*\{.*\}\s*$",
        description="Job variables, in JSON, of a training that is a run of its own; set by "
        "`roundhouse deploy` for `resources: {training: ...}`. Default: a run trains by itself.",
    )
    crashed_runs: Literal["retry", "leave"] = Field(
        default="retry",
        description="Whether a run whose process died goes on from where it stopped, or is left "
        "as crashed. Not given, `roundhouse deploy` leaves it as the server has it.",
    )
    heartbeat_seconds: int = Field(
        default=60,
        ge=30,
        description="Seconds between two signs of life of a run; after three without one it is "
        "marked as crashed. Not given, `roundhouse deploy` leaves it as the server has it.",
    )
    notify: SecretStr | None = Field(
        default=None,
        description="Address that is told of failed runs, failed checks, new champions and lost "
        "gates: a webhook of Slack or Teams, mailto://, or any other https address. Not given, the "
        "server's messages stay as they are; empty, they are removed.",
    )
    keep_days: int = Field(
        default=90,
        ge=1,
        le=36500,
        description="Days after which ended runs leave Prefect, and on a cluster what people "
        "deleted in MLflow leaves it and its store; MLflow keeps all else.",
    )
    pipelines: Path = Field(
        default=PROJECT_FOLDER / "infra" / "prefect.yaml",
        description="The file whose deployment blocks are the pipelines.",
    )
    timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        description="How long to wait for an answer from a service before saying that it does "
        "not answer.",
    )

    @field_validator("storage_key", "privacy_key")
    @classmethod
    def _is_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None or not key.get_secret_value().strip():
            return None
        try:
            decode_key(key.get_secret_value())
        except ValueError as error:
            raise PydanticCustomError("key", "{reason}", {"reason": str(error)}) from None
        return key

    @field_validator("storage", "artifacts")
    @classmethod
    def _holds_no_secret(cls, storage: str | None) -> str | None:
        if storage and holds_secret(storage):
            raise PydanticCustomError(
                "secret",
                "the address {address} came with a user, a password or a query; expected none, as "
                "the addresses of stored files are kept with each run. Set what its object store "
                "reads, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                {"address": shown(storage)},
            )
        return storage

    @property
    def home_folder(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().absolute()

    @property
    def storage_uri(self) -> str:
        """Where content is stored: the setting, or the home's own folder."""
        if self.storage is None:
            return str(self.home_folder / "storage")
        if "://" in self.storage:
            return self.storage
        return str(Path(self.storage).expanduser().absolute())

    @property
    def mlflow_uri(self) -> str:
        """The tracking address: the setting, or the home's own database."""
        return self.tracking_uri or f"sqlite:///{self.home_folder / 'mlflow.db'}"

    @property
    def mlflow_pages(self) -> str:
        """Where people find MLflow's pages: the server's, or those that `roundhouse up` serves."""
        if self.mlflow_public_url:
            return self.mlflow_public_url.rstrip("/")
        uri, own = self.mlflow_uri, f"http://127.0.0.1:{self.mlflow_port}"
        name = self.allowed_hosts.partition(",")[0].strip()
        if not uri.startswith(("http://", "https://")) or uri.rstrip("/") == own:
            return f"http://{name}:{self.mlflow_port}" if name else own
        scheme, _, rest = uri.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/")

    @property
    def artifact_folder(self) -> Path:
        """The folder for artefacts that is used when nothing else is said."""
        return self.home_folder / "artifacts"

    @property
    def artifact_root(self) -> str:
        """Where MLflow keeps artefacts: the setting, or the home's own folder."""
        if self.artifacts is None:
            return str(self.artifact_folder)
        if "://" in self.artifacts:
            return self.artifacts
        return str(Path(self.artifacts).expanduser().absolute())

    @property
    def downloads_folder(self) -> Path:
        """Where source files fetched from an address are kept, so that they are fetched once."""
        return self.home_folder / "downloads"

    @property
    def log_folder(self) -> Path:
        """Where each command writes its full log, tracebacks included."""
        return self.home_folder / "logs"


def load_settings() -> Settings:
    """The settings from the environment.

    Raises:
        ConfigError: A variable holds what its setting cannot be.
    """
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = f"ROUNDHOUSE_{problem['loc'][0]}".upper().replace(
            "ROUNDHOUSE_ROUNDHOUSE_", "ROUNDHOUSE_"
        )
        if problem["type"] == "secret":
            raise ConfigError(f"In {name}, {problem['msg']}.") from None
        field = Settings.model_fields.get(str(problem["loc"][0]))
        if field is not None and "SecretStr" in str(field.annotation):
            raise ConfigError(
                f"What {name} holds will not do: {problem['msg'].lower()}. Correct or unset it."
            ) from None
        raise ConfigError(
            f"Received {name}={problem['input']!r}; {problem['msg'].lower()}. Correct or unset it."
        ) from error
