"""The hand-offs from training on: the model, its figures, where it is registered, the verdict."""

from pydantic import Field

from tasks.energy import Consumption
from tasks.handoffs import Handoff, StoredFile


class InitialWeights(Handoff):
    """What a network starts from, where that is not chance.

    Args:
        address: As configured, `models:/<name>@<alias>`; None for fresh weights.
        name: Name of the registered model.
        version: The version that the address stood for when the run asked.
        network: Its `.keras` file.
    """

    address: str | None = None
    name: str | None = None
    version: int | None = None
    network: StoredFile | None = None

    @property
    def sentence(self) -> str:
        """Which version, and by which address; empty where there is none."""
        return f"models:/{self.name}/{self.version} ({self.address})" if self.address else ""


# where nothing is to start from
FRESH_WEIGHTS = InitialWeights()


class Hardware(Handoff):
    """What training ran on; the last bits of what is trained depend on it.

    Args:
        backend: Of Keras, or another library.
        devices: The accelerators, or the kind of processor.
        precision: Name of a dtype policy.
        cpu_count: Cores it could use.
        processor: Model of the processor, as it calls itself; empty where it does not.
    """

    backend: str
    devices: tuple[str, ...]
    precision: str
    cpu_count: int
    processor: str = ""


class TrainedModel(Handoff):
    """A trained network, or another estimator.

    Args:
        network: The `.keras` file with the best epoch's weights; of an estimator `.onnx`.
        parameters: Number of trainable and other weights; of trees, their nodes.
        history: Per metric (`loss`, `val_loss`, ...), its value after each epoch.
        best_epoch: Counted from 1.
        resumed_from: Epochs that an interrupted training had already done; 0 for none.
        seconds: Time spent in the training loop, by this process.
        rows_per_second: Training rows per second of the training loop.
        seed: Seed of weights, shuffling and dropout.
        hardware: What it ran on.
        summary: Layers, shapes and parameters, as a text file.
        libraries: What a server needs besides the usual, by the names of their distributions.
        initial: What it started from.
        consumption: What the training loop took, in this process.
        data_wait_share: Share of the training steps' time that was spent waiting for rows, between
            0 and 1; None where it was not measured.
    """

    network: StoredFile
    parameters: int
    history: dict[str, tuple[float, ...]]
    best_epoch: int
    resumed_from: int
    seconds: float
    rows_per_second: float
    seed: int
    hardware: Hardware
    summary: StoredFile
    libraries: tuple[str, ...] = ()
    initial: InitialWeights = InitialWeights()
    consumption: Consumption | None = None
    data_wait_share: float | None = None

    @property
    def suffix(self) -> str:
        """`.keras`, or `.onnx` of another estimator; also where the stored file is encrypted."""
        return ".onnx" if ".onnx" in self.network.uri.rpartition("/")[2] else ".keras"


class Evaluation(Handoff):
    """How the model does on the test rows.

    Args:
        rows: Number of test rows.
        metrics: The model's metrics by name.
        baselines: Per baseline (`majority`, `linear`, ...), the same metrics.
        predictions: `.npy`, float32, as `tasks.outputs` describes them, in the order of the test
            rows.
        simplest: The same of the baseline that must be beaten.
        pictures: Per file name, a PNG.
        tables: Per file name, a table as JSON.
        report: All of the figures as JSON.
        tolerance: How much a prediction may differ where other hardware computes it.
    """

    rows: int
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    predictions: StoredFile
    pictures: dict[str, StoredFile]
    report: StoredFile
    tables: dict[str, StoredFile] = Field(default_factory=dict)
    tolerance: float = 1e-4
    simplest: StoredFile | None = None


class Package(Handoff):
    """The one artefact that serves everywhere: an MLflow model as files.

    Args:
        files: Per path inside the package, the stored file.
        requirements: What a serving environment has to install, pinned.
        size: Bytes in all.
    """

    files: dict[str, StoredFile]
    requirements: tuple[str, ...]
    size: int


class RegisteredModel(Handoff):
    """A version in the model registry.

    Args:
        name: Name of the registered model.
        version: Its number.
        uri: Its registry address.
        fingerprint: Digest of the data, configuration, code and lock that made it; its identity.
    """

    name: str
    version: int
    uri: str
    fingerprint: str


class Proof(Handoff):
    """That a fresh process served the registered version as training left it, and how well.

    It had what the version's own requirements stand for, and unpickled nothing. What was not tried,
    as in proofs of earlier releases, has the default.

    Args:
        uri: What was loaded, by registry address.
        rows: Test rows predicted in batches.
        largest_difference: Largest absolute difference from training's predictions, in any way.
        tolerance: Largest difference allowed.
        load_seconds: Time to fetch and load the version, imports not counted.
        predict_seconds: Time to predict the rows in batches.
        requirements: The package's own, as pinned and as installed.
        distributions: Number of distributions that these stand for.
        memory_bytes: Growth of the process by loading and serving.
        latency_median_ms: Milliseconds for a single row, with MLflow's checks of it, the median.
        latency_p99_ms: The same, the 99th percentile.
        latency_rows: Single rows that were timed.
        refused: What was wrong with the rows that were refused, as they had to be.
        refused_rows: Number of such rows.
        served_rows: Test rows that MLflow's scoring server predicted over HTTP.
        served_seconds: Time that its requests took.
        refusal_status: HTTP status by which it refused a row.
    """

    uri: str
    rows: int
    largest_difference: float
    tolerance: float
    load_seconds: float
    predict_seconds: float
    requirements: tuple[str, ...] = ()
    distributions: int = 0
    memory_bytes: int = 0
    latency_median_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_rows: int = 0
    refused: tuple[str, ...] = ()
    refused_rows: int = 0
    served_rows: int = 0
    served_seconds: float = 0.0
    refusal_status: int | None = None


class Difference(Handoff):
    """By how much a model is better than another on the same rows, and how sure that is.

    Args:
        value: Positive where it is better, whether or not the metric is an error.
        low: Lower end of the interval.
        high: Its upper end.
        confidence: Of the interval, between 0 and 1.
        chance: Probability of so large a difference, either way, if there were none.
        rows: Number of rows.
        clusters: Number of clusters that the rows are in; None where each stands alone.
    """

    value: float
    low: float
    high: float
    confidence: float
    chance: float
    rows: int
    clusters: int | None = None


class Rule(Handoff):
    """One rule of the gate: what was measured, what was asked for, and whether it held.

    Args:
        name: The rule.
        passed: Whether it held.
        value: What was measured.
        bound: What was asked for.
        reason: Both in words, as a part of a sentence.
        difference: Of a comparison, with the other model.
        rows_to_decide: How many rows would decide where these do not.
    """

    name: str
    passed: bool
    value: float | None
    bound: float | None
    reason: str
    difference: Difference | None = None
    rows_to_decide: int | None = None


class Verdict(Handoff):
    """Whether a model has earned the alias, by which rules, and why in one sentence."""

    promoted: bool
    rules: tuple[Rule, ...]
    reason: str


class Promotion(Handoff):
    """What the gate decided, and which aliases moved.

    Args:
        verdict: The decision.
        version: The version that was judged.
        champion_before: Version that was the champion when judged, if any.
        champion: Version that is the champion now, if any.
        champion_metrics: Metrics of the champion that was compared with, on the compared rows.
        compared_rows: Test rows on which both were compared.
    """

    verdict: Verdict
    version: int
    champion_before: int | None
    champion: int | None
    champion_metrics: dict[str, float]
    compared_rows: int
