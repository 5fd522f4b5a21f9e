"""The small frozen values that stages pass on; those from training on are in `tasks.judgement`.

    Source -> Snapshot -> CheckedData -> PreparedData -> TrainedModel -> Evaluation
           -> Package -> RegisteredModel -> Proof -> Promotion

Each is JSON: addresses, digests, counts and names, never a frame, a model or a live client. So a
stage can run in another process or pod, results are cached by content, and the hand-offs themselves
are the lineage of a model.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Side = Literal["train", "validation", "test"]
Problem = Literal["classification", "regression", "token_classification", "text_generation"]
InputKind = Literal["table", "image", "text"]
Protection = Literal["none", "drop", "hash", "mask", "generalise"]


class Handoff(BaseModel):
    """What all hand-offs have in common: frozen, closed to unknown keys, JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def stored_files(self) -> tuple["StoredFile", ...]:
        """Every stored file that this hand-off is or points to, also through nested hand-offs."""
        found: list[StoredFile] = []
        pending: list[object] = [self]
        while pending:
            value = pending.pop()
            if isinstance(value, StoredFile):
                found.append(value)
            elif isinstance(value, Handoff):
                pending.extend(getattr(value, name) for name in type(value).model_fields)
            elif isinstance(value, tuple):
                pending.extend(value)
            elif isinstance(value, dict):
                pending.extend(value.values())
        return tuple(found)


class StoredFile(Handoff):
    """A file in the content-addressed storage.

    Args:
        uri: Where it is; the digest is part of it.
        sha256: Digest of its bytes, hexadecimal.
        size: Bytes.
    """

    uri: str
    sha256: str
    size: int


class RunContext(Handoff):
    """Where a stage's run belongs; never part of what is computed, so never part of a cache key.

    Args:
        pipeline: Name of the pipeline.
        run_id: Id of the MLflow run that the flow opened.
        experiment_id: Id of the pipeline's MLflow experiment.
        mlflow_uri: Address for tracking and registry.
        mlflow_pages: Address of the pages over the same, without credentials.
        storage_uri: Root of the content-addressed storage.
        force: Train again although nothing changed.
        attempt_of: What the attempts of a forced run share, which go on from each other alone.
        isolated: Neither recall nor leave a hand-off, for what is made again to be compared.
        training_job: Job variables of a training apart, as JSON; empty where the run trains.
    """

    pipeline: str
    run_id: str
    experiment_id: str
    mlflow_uri: str = Field(repr=False)  # an address can hold a password
    mlflow_pages: str
    storage_uri: str
    force: bool = False
    attempt_of: str = ""
    isolated: bool = False
    training_job: str = ""

    @property
    def run_page(self) -> str:
        """Where the run is found in MLflow's pages."""
        return self._page("")

    @property
    def files_page(self) -> str:
        """Where its files are found there: check report, pictures, lineage."""
        return self._page("/artifacts")

    def file_page(self, name: str) -> str:
        """Where one of its files is shown there, by its path among the run's artefacts."""
        return self._page(f"/artifacts/{name}")

    def _page(self, tab: str) -> str:
        place = f"/#/experiments/{self.experiment_id}/runs/{self.run_id}{tab}"
        # without it, what stands beside the page is for language models
        return f"{self.mlflow_pages}{place}?workflowType=machine_learning"


class SourceFile(Handoff):
    """One source file as it lies on this machine; `sha256` is of the unpacked bytes."""

    name: str
    path: str
    sha256: str
    size: int


class Source(Handoff):
    """The source files of a dataset, complete and unchanged.

    Args:
        dataset: Name of the dataset.
        location: Where they are, as it may be shown.
        files: The files.
        digest: Identifies their content, and the key by which it is hashed.
        privacy_key: Id of that key; empty where nothing is hashed.
    """

    dataset: str
    location: str
    files: tuple[SourceFile, ...]
    digest: str
    privacy_key: str = ""


class Column(Handoff):
    """One column of a snapshot.

    Args:
        name: As in the source.
        role: What it is for. Only `feature` columns are given to a model.
        kind: `numeric` (float64 or int64, blanks allowed), `category` (string, blanks allowed),
            `image` (fixed-size list of uint8 with its shape), `text` (string) or `time`.
        personal: Values are never shown in a report, log or picture; so where it is protected.
        protection: What becomes of it before anything is stored. `drop`: it is left out. `hash`:
            each value becomes its keyed hash, a category. `mask`: numbers and names in texts become
            words such as [PHONE]. `generalise`: numbers become the lower edges of ranges, times the
            first of their month, categories a prefix. See `tasks.privacy`.
        range_width: Width of the ranges, for numbers that are generalised.
        prefix_length: Characters that are kept, for categories that are generalised.
        shape: Height, width and channels; only for images.
        maximum: Largest value a pixel can take; only for images.
        integer: Whole numbers (int64) only; for `numeric`, which is float64 otherwise.
    """

    name: str
    role: Literal["feature", "label", "identifier", "part", "ignored"]
    kind: Literal["numeric", "category", "image", "text", "time"]
    personal: bool = False
    protection: Protection = "none"
    range_width: float | None = Field(default=None, ge=1e-6)
    prefix_length: int | None = Field(default=None, ge=1)
    shape: tuple[int, int, int] | None = None
    maximum: int | None = None
    integer: bool = False

    @model_validator(mode="before")
    @classmethod
    def _is_personal_if_protected(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("protection", "none") != "none":
            return {**given, "personal": True}
        return given


class Snapshot(Handoff):
    """A dataset as one typed, read-only Parquet file.

    Args:
        dataset: Name of the dataset.
        problem: What is predicted.
        file: The Parquet file.
        rows: Number of rows.
        columns: Every column in the file, in order.
        source_digest: Digest of the source files it was read from.
        trial: Only some of the rows were asked for, so their number is not judged.
        labels: The labels that rows may have, where the dataset's file does not say: those that
            were asked for, or those that the source has; else empty.
        warnings: Sentences on what was noticed as the source was read.
        privacy_key: Id of the key by which columns were hashed; empty where none was.
    """

    dataset: str
    problem: Problem
    file: StoredFile
    rows: int
    columns: tuple[Column, ...]
    source_digest: str
    trial: bool = False
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    privacy_key: str = ""

    @property
    def label(self) -> Column:
        """The column that is predicted; of a text that is to go on, the text itself."""
        role = "feature" if self.problem == "text_generation" else "label"
        return next(column for column in self.columns if column.role == role)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns a model is given, in order."""
        return tuple(column for column in self.columns if column.role == "feature")


class CheckedData(Handoff):
    """A snapshot that passed its checks.

    Args:
        snapshot: What was checked.
        passed: Checks that held.
        warnings: One sentence for each failed check that only warns.
        total: Checks that were run.
        report: The whole report as JSON.
        data_docs: The report as a page (HTML).
    """

    snapshot: Snapshot
    passed: int
    warnings: tuple[str, ...]
    total: int
    report: StoredFile
    data_docs: StoredFile


class Arrays(Handoff):
    """One side of the split as arrays for the network.

    Args:
        inputs: `.npy`; images uint8 [rows, height, width, channels], tables float32 [rows, width],
            texts int32 [rows, length].
        labels: `.npy`; class indices int32 [rows], or targets float32 [rows]. For problems of
            sequences int32 [rows, length], one for each token, -1 where nothing is predicted.
        rows: `.npy`; row numbers in the snapshot, int64 [rows], ascending.
        count: Number of rows.
        label_counts: Rows per class, in the order of the classes; empty where a row has no class.
        truth: `.npy`; what predictions are judged by, where that is not `labels`: for token
            classification class indices of all words, int32 [rows, words], -1 beyond the last.
    """

    inputs: StoredFile
    labels: StoredFile
    rows: StoredFile
    count: int
    label_counts: tuple[int, ...] = ()
    truth: StoredFile | None = None

    @property
    def judged_by(self) -> StoredFile:
        """What predictions for these rows are compared with."""
        return self.truth or self.labels


class PreparedData(Handoff):
    """The three sides of the split, and what was fitted on the training side.

    Args:
        snapshot: What was split.
        split: How it was split, as `tasks.unseen.describe_split` says, to judge other models by.
        train: Rows that train.
        validation: Rows that decide when to stop.
        test: Rows that judge.
        preprocessing: What was fitted, as JSON; ships inside the package.
        classes: Labels in the order of the network's outputs, as in the source, if there are any.
        input_shape: Shape of one row of inputs.
        kind: What a row of inputs is.
        pixel_maximum: Largest pixel value; only for images.
        codes: Number of codes of each coded category, which are the last columns of a row.
        vocabulary: Number of different tokens; only for texts.
        padding: The token that fills a short text up; only for texts.
        duplicates: Rows that have an identical twin, in features and label, on another side.
        warnings: Sentences on what was noticed.
    """

    snapshot: Snapshot
    split: dict[str, str | int | float | None]
    train: Arrays
    validation: Arrays
    test: Arrays
    preprocessing: StoredFile
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    kind: InputKind = "table"
    pixel_maximum: int | None = None
    codes: tuple[int, ...] = ()
    vocabulary: int = 0
    padding: int = 0
    duplicates: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Number of probabilities that a network gives; 0 for a value."""
        if self.snapshot.problem == "text_generation":
            return self.vocabulary
        return len(self.classes)
