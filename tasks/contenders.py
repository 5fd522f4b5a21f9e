"""The hand-offs of a comparison of presets: what each came to, and which is the best."""

from tasks.handoffs import Handoff


class Contender(Handoff):
    """How a trained model does on the validation rows, and what it costs.

    Args:
        rows: Number of validation rows.
        metrics: By name, on these rows.
        parameters: Number of weights; of trees, their nodes.
        size: Bytes of the package.
        seconds: Time that training took.
        latency_median_ms: Milliseconds that the served code needs for a single row, the median.
        latency_p99_ms: The same, the 99th percentile.
        latency_rows: Single rows that were timed.
    """

    rows: int
    metrics: dict[str, float]
    parameters: int
    size: int
    seconds: float
    latency_median_ms: float
    latency_p99_ms: float
    latency_rows: int


class Entry(Handoff):
    """A preset in a comparison: what it came to, or why it came to nothing.

    Args:
        preset: Name of its pipeline.
        architecture: Its network, or other estimator.
        run_id: Id of its MLflow run, nested in that of the comparison.
        contender: What it came to.
        failure: Why it came to nothing; empty otherwise.
    """

    preset: str
    architecture: str
    run_id: str
    contender: Contender | None = None
    failure: str = ""


class Ranking(Handoff):
    """Presets of one dataset, the best first, those that failed last.

    Args:
        dataset: The dataset.
        metric: What they are ranked by, on the validation rows.
        entries: The presets.
        run_id: Id of the comparison's MLflow run.
        page: Address of MLflow's page that shows their runs side by side.
    """

    dataset: str
    metric: str
    entries: tuple[Entry, ...]
    run_id: str
    page: str
