"""What decided the predictions for some rows: of tables, images and texts, networks and trees."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import attribution, outputs, texts
from tasks.appraisal import ExplainedRow
from tasks.columns import class_titles
from tasks.explained_rows import Choice
from tasks.importance import column_groups, shapley_values
from tasks.layers import compiled
from tasks.models.archive import function_of, load_network, open_network

HIDDEN = "hidden"
PERSONAL = "personal columns"
# of a table's columns so many are named, those that add the most; the others are one part
PARTS = 12
# a network that says the probability of every token at every place is asked for few rows at once
ROWS_AT_ONCE, SEQUENCES_AT_ONCE = 2048, 8


@dataclass(frozen=True)
class Model:
    """A trained model that can be asked.

    Args:
        fitted: What was fitted on the training rows.
        respond: From inputs to outputs float32 [rows, ...], in batches that bound its memory.
        network: The network itself; None for other estimators.
    """

    fitted: Mapping[str, Any]
    respond: Callable[[NDArray[Any]], NDArray[np.float32]]
    network: Any = None

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predictions for rows of a table, as `tasks.outputs` describes them."""
        found = self.respond(inputs)
        return found if self.fitted["classes"] else found.reshape(len(inputs))


@dataclass(frozen=True)
class Asked:
    """Rows that are to be explained.

    Args:
        inputs: As the model takes them, [rows, ...].
        choices: Why each is here, and which of its words or tokens.
        numbers: Of the rows in the snapshot; -1 for one that is in none.
        truths: What is true of each, as in the source; empty where nobody knows.
        values: Of tables, per row what each column holds.
        words: For tags of words: the number of the word that begins at each token, int32
            [rows, length], or -1.
        personal: Names of columns whose values are not shown.
    """

    inputs: NDArray[Any]
    choices: Sequence[Choice]
    numbers: Sequence[int]
    truths: Sequence[str]
    values: Sequence[Mapping[str, str]] = ()
    words: NDArray[np.int32] | None = None
    personal: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Explained:
    """Explained rows.

    Args:
        rows: As they are handed on.
        heat: Of images, what each pixel adds to the output, float32 [rows, height, width].
        regions: Where the last convolution finds what speaks for the output, of the same shape.
    """

    rows: tuple[ExplainedRow, ...]
    heat: NDArray[np.float32] | None = None
    regions: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Output:
    """The output of a row that is explained: its place among all, its value, and in words."""

    place: int
    value: float
    prediction: str
    explained: str
    is_probability: bool


def open_model(path: Path, fitted: Mapping[str, Any]) -> Model:
    """A stored model.

    Args:
        path: A `.keras` or `.onnx` file.
        fitted: What was fitted on the training rows.
    """
    network = None if path.suffix == ".onnx" else open_network(path)
    if network is None:
        call = load_network(path)
    else:
        # a table's network is asked for each column, again and again
        call = (compiled if fitted["kind"] == "table" else function_of)(network)
    is_sequence = fitted["problem"] in {"token_classification", "text_generation"}
    size = SEQUENCES_AT_ONCE if is_sequence else ROWS_AT_ONCE

    def respond(inputs: NDArray[Any]) -> NDArray[np.float32]:
        starts = range(0, max(len(inputs), 1), size)
        return np.concatenate([call(np.asarray(inputs[n : n + size])) for n in starts])

    return Model(fitted, respond, network)


def explain_rows(
    model: Model, asked: Asked, steps: int, background: NDArray[np.float32] | None = None
) -> Explained:
    """What each part of some rows adds to the output that is the model's prediction.

    Columns by sampled Shapley values; pixels and tokens by integrated gradients, and images with
    convolutions by Grad-CAM as well.

    Args:
        model: The model.
        asked: The rows.
        steps: Of integrated gradients.
        background: Of tables, rows that they are compared with, float32 [any, width].
    """
    if not len(asked.inputs):
        return Explained(())
    found = [
        _output_of(model, asked, row, answer) for row, answer in enumerate(_answers(model, asked))
    ]
    wanted = np.array([output.place for output in found], np.int64)
    if background is not None:
        return Explained(tuple(_columns(model, asked, found, background)))
    if model.fitted["kind"] == "image":
        traced = attribution.integrated_gradients(model.network, asked.inputs, wanted, steps)
        return Explained(
            tuple(_rows(asked, found, traced.start, model)),
            heat=traced.values.sum(axis=-1),
            regions=attribution.grad_cam(model.network, asked.inputs, wanted),
        )
    kept = _special(asked.inputs, model.fitted)
    traced = attribution.integrated_gradients(model.network, asked.inputs, wanted, steps, kept)
    each = traced.values.sum(axis=-1)
    parts = [_tokens(model, asked, row, each[row], ~kept[row]) for row in range(len(each))]
    return Explained(tuple(_rows(asked, found, traced.start, model, parts)))


def token_of(word: int, words: NDArray[np.int32]) -> int:
    """The token that a word begins with, among those of its text; 0 where it was cut off."""
    (places,) = np.nonzero(words == word)
    return int(places[0]) if len(places) else 0


def _answers(model: Model, asked: Asked) -> Iterator[NDArray[np.float32]]:
    """The outputs for each row; those for every token of a text are large, so row by row."""
    is_sequence = model.fitted["problem"] in {"token_classification", "text_generation"}
    size = 1 if is_sequence else ROWS_AT_ONCE
    for start in range(0, len(asked.inputs), size):
        yield from model.respond(asked.inputs[start : start + size])


def _output_of(model: Model, asked: Asked, row: int, answer: NDArray[np.float32]) -> _Output:
    """What the model says of a row, and in which of its outputs."""
    fitted, place = model.fitted, asked.choices[row].place
    problem, classes = fitted["problem"], fitted["classes"]
    if problem == "regression":
        value = float(answer.reshape(-1)[0])
        return _Output(0, value, f"{value:.6g}", "the value", is_probability=False)
    token = place
    if problem == "token_classification" and asked.words is not None:
        token = token_of(place, asked.words[row])
    given = answer if problem == "classification" else answer[token]
    best = int(given.argmax())
    if problem == "text_generation":
        told = HIDDEN if fitted["name"] in asked.personal else _named([best], fitted)[0]
        words = f"the probability of this token after token {place + (fitted['start'] is None)}"
    else:
        is_personal = fitted["label"] in asked.personal
        told = class_titles(classes, is_personal=is_personal)[best]
        words = f"the probability of {told}"
        words += f" for word {place + 1}" if problem == "token_classification" else ""
    flat = best if problem == "classification" else token * answer.shape[-1] + best
    return _Output(flat, float(given[best]), told, words, is_probability=True)


def _columns(
    model: Model, asked: Asked, found: Sequence[_Output], background: NDArray[np.float32]
) -> Iterator[ExplainedRow]:
    groups = column_groups(model.fitted)
    for row, output in enumerate(found):

        def respond(inputs: NDArray[np.float32], place: int = output.place) -> NDArray[np.float32]:
            return model.respond(inputs).reshape(len(inputs), -1)[:, place]

        values, start, _ = shapley_values(respond, asked.inputs[row], background, groups)
        shown, hidden = asked.values[row], asked.personal
        parts = {
            f"{name} = {shown[name]}": value
            for name, value in zip(groups, values, strict=True)
            if name not in hidden
        }
        if hidden & groups.keys():
            of_hidden = [v for name, v in zip(groups, values, strict=True) if name in hidden]
            parts[PERSONAL] = sum(of_hidden)
        ordered = sorted(parts.items(), key=lambda part: -abs(part[1]))
        if len(ordered) > PARTS:
            others = sum(value for _, value in ordered[PARTS:])
            ordered[PARTS:] = [(f"{len(ordered) - PARTS} other columns", others)]
        yield from _rows(asked, [output], np.array([start]), model, [[*ordered]], first=row)


def _rows(
    asked: Asked,
    found: Sequence[_Output],
    starts: NDArray[np.floating],
    model: Model,
    parts: Sequence[Sequence[tuple[str, float]]] = (),
    first: int = 0,
) -> Iterator[ExplainedRow]:
    """Rows as they are handed on.

    Args:
        asked: All of the rows.
        found: What the model says, for one row after the other.
        starts: Of the explained outputs, [rows].
        model: Tells what is predicted.
        parts: What each part adds.
        first: The number of the first of them among those asked for.
    """
    is_personal = model.fitted["label"] in asked.personal
    for place, output in enumerate(found):
        row = first + place
        truth = asked.truths[row]
        if model.fitted["problem"] == "text_generation":
            truth = _true_token(model.fitted, asked, row)
        yield ExplainedRow(
            row=asked.numbers[row],
            chosen=asked.choices[row].chosen,
            truth=HIDDEN if is_personal and truth else truth,
            prediction=output.prediction,
            confidence=output.value if output.is_probability else None,
            explained=output.explained,
            start=float(starts[place]),
            end=output.value,
            attributions=tuple((name, float(value)) for name, value in parts[place])
            if parts
            else (),
        )


def _special(tokens: NDArray[np.int32], fitted: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which tokens are none of the text, but its start, its end, or what fills it up."""
    special = [fitted[name] for name in ("start", "end", "padding") if fitted[name] is not None]
    return np.isin(tokens, special)


def _tokens(
    model: Model, asked: Asked, row: int, each: NDArray[np.float32], is_text: NDArray[np.bool_]
) -> list[tuple[str, float]]:
    """What the tokens of a text add, by their names or, of a personal text, by their places."""
    (places,) = np.nonzero(is_text)
    if model.fitted["problem"] == "text_generation":
        # none looks at what comes after it
        places = places[places <= asked.choices[row].place]
    names = _named(asked.inputs[row][places].tolist(), model.fitted)
    if model.fitted["name"] in asked.personal:
        names = [f"token {number}" for number in range(1, len(places) + 1)]
    return [(name, float(each[place])) for name, place in zip(names, places, strict=True)]


def _named(tokens: Sequence[int], fitted: Mapping[str, Any]) -> list[str]:
    found = texts.decode([[token] for token in tokens], fitted) if len(tokens) else []
    return [name.strip() or "unknown" for name in found]


def _true_token(fitted: Mapping[str, Any], asked: Asked, row: int) -> str:
    """The token that follows in the text itself; `end` where it is over."""
    following = outputs.next_tokens(asked.inputs[row : row + 1], fitted)[0]
    token = int(following[asked.choices[row].place])
    if token == fitted["end"]:
        return "end"
    return _named([token], fitted)[0] if token >= 0 else ""
