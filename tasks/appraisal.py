"""The hand-offs that tell of a model what its figures do not, and all of a run's as its lineage."""

from typing import Literal

from pydantic import Field

from tasks.exports import Exports
from tasks.handoffs import CheckedData, Handoff, PreparedData, Source, StoredFile
from tasks.judgement import (
    Evaluation,
    InitialWeights,
    Package,
    Promotion,
    Proof,
    RegisteredModel,
    TrainedModel,
)


class Slice(Handoff):
    """The test rows with one value of a column, or with values in one range of it.

    Args:
        column: The column.
        value: The value, or the range in words.
        rows: Number of test rows.
        metrics: The model's metrics on these rows; one that is undefined there is missing.
        low: Lower end of the interval of the gate's metric; None where it is undefined.
        high: Its upper end.
    """

    column: str
    value: str
    rows: int
    metrics: dict[str, float]
    low: float | None = None
    high: float | None = None


class FairnessGap(Handoff):
    """How differently the groups of a sensitive column are treated; 0 where they are alike.

    What is not measured is None: the first two for regression, the others for classification, and
    all where fewer than two groups have enough rows.

    Args:
        column: The column.
        groups: Its groups that were compared: those with enough rows, blanks and lumps left out.
        demographic_parity: Largest difference of the shares that are given a class, over the
            classes; 0 to 1.
        equalised_odds: Largest difference of the rates of true and of false positives, over the
            classes; 0 to 1.
        predictions: Largest difference of mean predictions, in the target's unit.
        errors: Largest difference of mean absolute errors, in the target's unit.
        intervals: Per figure by its name here, the lower and the upper end of its interval.
        labels: Per figure by its name here, the class in which it is as large.
        reason: Why something is not measured; empty otherwise.
    """

    column: str
    groups: tuple[str, ...] = ()
    demographic_parity: float | None = None
    equalised_odds: float | None = None
    predictions: float | None = None
    errors: float | None = None
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    reason: str = ""


class Slices(Handoff):
    """The test rows in slices.

    Args:
        metric: The gate's metric, of which the slices have an interval.
        confidence: Of the intervals.
        least_rows: Fewest rows of a slice that a rule judges, and of a group that is compared.
        table: The slices, column by column.
        gaps: Of each sensitive column.
        membership: `.npy`, int32 [test rows, columns]: which of its column's slices a row is in,
            counted from 0; -1 for none.
        columns: The columns of `membership`, in order.
        pictures: Per file name, a PNG.
        report: The table as JSON.
        spreadsheet: The table as CSV.
    """

    metric: str = ""
    confidence: float = 0.95
    least_rows: int = 1
    table: tuple[Slice, ...] = ()
    gaps: tuple[FairnessGap, ...] = ()
    membership: StoredFile | None = None
    columns: tuple[str, ...] = ()
    pictures: dict[str, StoredFile] = Field(default_factory=dict)
    report: StoredFile | None = None
    spreadsheet: StoredFile | None = None


class Importance(Handoff):
    """What a model loses when a column is shuffled among the rows.

    Args:
        column: The column.
        mean: Loss of the metric, the mean over the repeats; positive where the column helps.
        deviation: Standard deviation over the repeats.
    """

    column: str
    mean: float
    deviation: float


class ExplainedRow(Handoff):
    """One test row, and what decided its prediction.

    Args:
        row: Its number in the snapshot, from 0; -1 for a row that is in none.
        chosen: Why it is here.
        truth: What is true of it; hidden where that is personal.
        prediction: What the model says; hidden where that is a part of a personal text.
        confidence: Probability of the prediction, or None.
        explained: Which output is explained, in words.
        start: That output where the explanation starts: of a black image, of a text without its
            words, or the mean of other rows.
        end: That output for the row.
        attributions: Per part of the row (a column with its value, a token in its place), what it
            adds to the output; `end - start` in all. Personal columns are one part together, and
            tokens of personal texts have their places for names. Empty for images, whose
            attributions are a picture.
        picture: Name of its picture among `Explanation.pictures`; empty where it has none.
    """

    row: int
    chosen: Literal["mistake", "random", "asked for"]
    truth: str
    prediction: str
    confidence: float | None = None
    explained: str = ""
    start: float = 0.0
    end: float = 0.0
    attributions: tuple[tuple[str, float], ...] = ()
    picture: str = ""


class LayerActivation(Handoff):
    """What a layer gives for one row, in figures.

    Args:
        layer: Its name, after that of the network that it is inside of.
        shape: Of its output for a row.
        mean: Of all numbers of the output.
        maximum: The largest.
        zeros: Share that is exactly 0.
    """

    layer: str
    shape: tuple[int, ...]
    mean: float
    maximum: float
    zeros: float


class Explanation(Handoff):
    """What a model looks at.

    Args:
        metric: The metric in which importances are measured.
        importances: The columns, the most important first; for tables.
        rows: Explained rows.
        activations: Of each layer, for the first of these rows; empty for what is no network.
        notes: Sentences on what is not shown, and why.
        pictures: Per file name, a PNG.
        report: All of it as JSON.
        seconds: Time it took.
    """

    metric: str = ""
    importances: tuple[Importance, ...] = ()
    rows: tuple[ExplainedRow, ...] = ()
    activations: tuple[LayerActivation, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: dict[str, StoredFile] = Field(default_factory=dict)
    report: StoredFile | None = None
    seconds: float = 0.0


class ModelCard(Handoff):
    """The model card of a version.

    Args:
        html: As one page with its pictures inside.
        markdown: As Markdown, without pictures.
    """

    html: StoredFile
    markdown: StoredFile


class Reproduction(Handoff):
    """A version, made again from its lineage, beside the one that is registered.

    Args:
        name: Name of the registered model.
        version: Its version.
        identical: Whether all weights are the same, bit for bit.
        digest: Of the registered version's weights, as `tasks.weights` computes it.
        reproduced_digest: Of the weights that were made now.
        arrays: Number of arrays of weights.
        weight_difference: Largest absolute difference of a weight; None where the two have other
            arrays.
        differs_most: Name of the array that has it; empty where all are the same.
        rows: Number of test rows that both predicted.
        prediction_difference: Largest absolute difference of a prediction.
        cautions: What was not as it was then, as sentences: code, lock, machine, rows.
        sentence: All of it in a few words.
        seconds: Time that the training took now.
    """

    name: str
    version: int
    identical: bool
    digest: str
    reproduced_digest: str
    arrays: int
    weight_difference: float | None
    differs_most: str
    rows: int
    prediction_difference: float
    cautions: tuple[str, ...]
    sentence: str
    seconds: float


class Lineage(Handoff):
    """All hand-offs of a run, in the order of its stages: how a version came to be.

    Args:
        configuration: Everything that was configured, as JSON of `tasks.config.PipelineConfig`.
        surroundings: Commit, lock and user, as `tasks.lineage` describes them.
    """

    configuration: dict[str, object]
    surroundings: dict[str, str]
    source: Source
    checks: CheckedData
    prepared: PreparedData
    initial: InitialWeights
    trained: TrainedModel
    evaluation: Evaluation
    slices: Slices
    package: Package
    registered: RegisteredModel
    proof: Proof
    promotion: Promotion
    explanation: Explanation
    exports: Exports
