"""What a model is for and what it was made from: purpose, data, checks and preparation."""

import importlib
from collections.abc import Collection, Mapping
from typing import Any

from tasks import remote
from tasks.appraisal import Lineage
from tasks.columns import class_titles
from tasks.datasets import DATASETS
from tasks.handoffs import CheckedData, Column, PreparedData, RunContext
from tasks.model_card.document import (
    Code,
    Link,
    Notes,
    Part,
    Section,
    Table,
    facts,
    listed,
    section,
)
from tasks.model_card.measured import ClassFigures, Measured

# more classes are not told one by one
CLASSES = 12
DIGEST_SHOWN = 12
KINDS = {
    "numeric": ("number", "numbers"),
    "category": ("category", "categories"),
    "image": ("image", "images"),
    "text": ("text", "texts"),
    "time": ("time", "times"),
}
STRATEGIES = {
    "hash": "by a stable hash of each row, so that none ever changes side",
    "group": "all rows of a group on one side",
    "time": "the newest rows test",
}


def subtitle(prepared: PreparedData) -> str:
    """What the model does, as a sentence without an end."""
    label, names = (
        prepared.snapshot.label.name,
        class_titles(prepared.classes, is_personal=prepared.snapshot.label.personal),
    )
    match prepared.snapshot.problem:
        case "classification" if len(names) <= CLASSES:
            return f"Predicts {label}: {', '.join(names[:-1])} or {names[-1]}"
        case "classification":
            return f"Predicts {label}, one of {len(names):,} classes"
        case "regression":
            return f"Predicts {label}, a number"
        case "token_classification":
            return "Gives each word of a text a tag"
        case _:
            return "Goes on writing a text"


def purpose(lineage: Lineage) -> Section | None:
    """What it is for and what not, from what is known; nothing is assumed."""
    prepared = lineage.prepared
    snapshot = prepared.snapshot
    about = facts(
        predicts=(Code(snapshot.label.name), f", a problem of {_words(snapshot.problem)}"),
        given=_inputs(snapshot.features),
        data=_description(snapshot.dataset),
        meant_for="Rows like those, with the columns of the source; a row that breaks the "
        "signature is refused",
    )
    return section("purpose", "What it is for", about, Notes(tuple(_not_for(lineage))))


def _not_for(lineage: Lineage) -> list[str]:
    snapshot, verdict = lineage.prepared.snapshot, lineage.promotion.verdict
    notes = ["Not for rows of another source, population or period: it was measured on none."]
    if snapshot.trial:
        notes.append("Not for service: a trial run, trained on some of the rows.")
    elif not verdict.promoted:
        notes.append("Not for service: it has not earned the alias.")
    personal = [column.name for column in snapshot.features if column.personal]
    if personal and not lineage.slices.gaps:
        notes.append(
            f"It uses personal columns ({', '.join(personal)}), and whether groups of people are "
            "treated alike was not measured: name the columns in slices.sensitive."
        )
    return notes


def _description(name: str) -> str | None:
    if name not in DATASETS:
        return None
    about = importlib.import_module(f"tasks.datasets.{name}").__doc__ or DATASETS[name].title
    return about.strip().partition("\n")[0].rstrip(".")


def _inputs(columns: tuple[Column, ...]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for kind, (one, many) in KINDS.items():
        found = [column for column in columns if column.kind == kind]
        if not found:
            continue
        word = f"{len(found)} {many}: " if len(found) > 1 else f"the {one} "
        parts += ["; ", word] if parts else [word]
        parts += listed(column.name for column in found)
        if shape := found[0].shape:
            parts.append(f", {' x '.join(str(side) for side in shape)}")
    return tuple(parts)


def data(lineage: Lineage, measured: Measured) -> Section | None:
    """Which rows, of when, from where, and how they were split."""
    prepared = lineage.prepared
    snapshot, source = prepared.snapshot, lineage.source
    place = source.location
    period = measured.period
    about = facts(
        dataset=Code(snapshot.dataset),
        source=remote.shown(place) if remote.is_remote(place) else place,
        rows=f"{snapshot.rows:,}" + (", a trial run on some of them" if snapshot.trial else ""),
        columns=f"{len(snapshot.columns):,}, {len(snapshot.features):,} of them given to the model",
        period=(f"{period[1]} to {period[2]}, by ", Code(period[0])) if period else None,
        split=_split(prepared.split),
        snapshot=Code(snapshot.file.sha256),
        source_files=Code(source.digest),
    )
    return section("data", "Data and period", about, sides(prepared, measured.classes))


def sides(prepared: PreparedData, classes: tuple[ClassFigures, ...] = ()) -> Table:
    """The rows of each side of the split; by class where there are few enough of them."""
    found = {"Train": prepared.train, "Validation": prepared.validation, "Test": prepared.test}
    names = class_titles(prepared.classes, is_personal=prepared.snapshot.label.personal)
    shown = names if classes and len(names) <= CLASSES else ()
    total = sum(side.count for side in found.values())
    return Table(
        ("Side", "Rows", "Share", *shown),
        tuple(
            (
                name,
                f"{side.count:,}",
                f"{100 * side.count / total:.1f} %",
                *(f"{count:,}" for count in side.label_counts if shown),
            )
            for name, side in found.items()
        ),
    )


def _split(split: Mapping[str, Any]) -> str | tuple[Part, ...]:
    strategy = str(split.get("strategy", ""))
    words = f"{STRATEGIES.get(strategy, strategy)}; seed {split.get('seed', 0)}"
    column = split.get("column")
    return (f"{words}; column ", Code(str(column))) if column else words


def checks(checked: CheckedData, context: RunContext) -> Section | None:
    """How many checks held, and what they warn of."""
    report: tuple[Part, ...] = (
        f"{checked.passed:,} of {checked.total:,}, ",
        Link("the report", context.file_page("checks/index.html")),
    )
    about = facts(passed=report, warned=f"{len(checked.warnings):,}")
    return section("checks", "Checks of the data", about, Notes(checked.warnings))


def preparation(lineage: Lineage) -> Section | None:
    """How raw columns became the network's inputs."""
    prepared, chosen = lineage.prepared, _configured(lineage, "preparation")
    kinds = {column.kind for column in prepared.snapshot.features}
    is_table, is_text = prepared.kind == "table", prepared.kind == "text"
    one_hot = chosen.get("categories") == "one_hot"
    about = facts(
        inputs=f"{' x '.join(str(side) for side in prepared.input_shape)} for each row",
        blanks=f"the {chosen.get('imputation')}" if "numeric" in kinds and is_table else None,
        scaling=str(chosen.get("scaling")) if "numeric" in kinds and is_table else None,
        categories=("an input each" if one_hot else "codes, looked up as embeddings")
        if "category" in kinds and is_table
        else None,
        tokens=_words(str(chosen.get("tokens"))) if is_text else None,
        vocabulary=f"{prepared.vocabulary:,} tokens" if is_text else None,
        fitted_on=_fitted_on(kinds, chosen),
    )
    return section("preparation", "Preparation", about)


def _fitted_on(kinds: Collection[str], chosen: Mapping[str, Any]) -> str:
    """From which rows the preparation knows what it knows."""
    if "image" in kinds:
        return "nothing; it travels inside the package"
    if chosen.get("vocabulary"):
        return "nothing: the vocabulary came with a pretrained network; it travels in the package"
    return "the training rows only; it travels inside the package"


def _configured(lineage: Lineage, stage: str) -> dict[str, Any]:
    found = lineage.configuration.get(stage)
    return found if isinstance(found, dict) else {}


def _words(name: str) -> str:
    return name.replace("_", " ")
