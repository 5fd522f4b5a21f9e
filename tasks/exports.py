"""The hand-offs of a network in other forms."""

from pydantic import Field

from tasks.handoffs import Handoff, StoredFile


class ExportedModel(Handoff):
    """A trained network in another form, against the original on the test rows.

    Args:
        form: `original`; or `keras`, `litert`, `onnx` or `saved_model`, with what was done to it
            before, such as `litert pruned int8`.
        files: By their names: the form itself, a folder as a zip; what was fitted, which prepares
            rows for it; and how to use it. Empty where it was refused or could not be made.
        size: Bytes of the form, of a folder those of its files.
        zipped: The same when compressed.
        metrics: On the test rows, by the form's own runtime.
        loss: What it loses of the metric, as a share of the original's figure; negative where it is
            better.
        latency_median_ms: Milliseconds for a single prepared row, the median.
        latency_p99_ms: The same, the 99th percentile.
        largest_difference: Of its predictions from the original's, in units of the largest
            prediction where that is above 1.
        kept: Whether it loses no more than is allowed.
        reason: Why it was kept, refused, or could not be made, as a sentence.
    """

    form: str
    files: dict[str, StoredFile] = Field(default_factory=dict)
    size: int = 0
    zipped: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    loss: float | None = None
    latency_median_ms: float | None = None
    latency_p99_ms: float | None = None
    largest_difference: float | None = None
    kept: bool = False
    reason: str = ""

    @property
    def folder(self) -> str:
        """Its name as a part of a path."""
        return self.form.replace(" ", "-")

    @property
    def sentence(self) -> str:
        """What became of it, with its size and speed where it could be made."""
        if self.latency_median_ms is None:
            return f"{self.form} {self.reason}"
        return (
            f"{self.form} {self.reason}; {self.size:,} bytes ({self.zipped:,} compressed), "
            f"{self.latency_median_ms:.3g} ms a row"
        )


class Exports(Handoff):
    """A trained network in other forms; the original, as trained, comes first.

    Args:
        metric: The metric that must not be lost.
        forms: The original, then what was made of it; empty where nothing was asked for.
        report: The table as JSON.
    """

    metric: str = ""
    forms: tuple[ExportedModel, ...] = ()
    report: StoredFile | None = None

    @property
    def made(self) -> tuple[ExportedModel, ...]:
        """The forms without the original."""
        return self.forms[1:]
