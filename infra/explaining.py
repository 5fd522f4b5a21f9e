"""`roundhouse explain`: what decided one prediction of a registered version, in the terminal."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from infra import databases, environment
from infra.own_rows import own_row, row_number
from infra.running import libraries_print_to
from tasks.errors import ConfigError
from tasks.home import prepare_home
from tasks.keys import PRIVACY_KEY, privacy_key
from tasks.settings import Settings
from tasks.storage import Storage
from tasks.stores import disk_errors

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.appraisal import ExplainedRow
    from tasks.explaining import Asked
    from tasks.handoffs import Snapshot
    from tasks.registered_model import RegisteredVersion

# other rows that a row of a table is compared with, and steps of integrated gradients
OTHER_ROWS, STEPS = 64, 32
BAR = 24
LOG = "explain.log"
STARTS = {
    "table": "the mean of other rows",
    "image": "an image of zeros",
    "text": "the text without its words",
}


@dataclass(frozen=True)
class _Found:
    """An explained prediction, whose it is, and its picture where one may be drawn.

    Personal values that somebody types are shown to him, and kept only where he says.
    """

    who: str
    kind: str
    row: "ExplainedRow"
    png: bytes | None
    file_name: str
    may_be_kept: bool


def explain_version(
    address: str, given: Sequence[str], settings: Settings, console: "Console", picture: Path | None
) -> None:
    """Explains one prediction of a version and shows it.

    Args:
        address: `digits`, `digits@previous` or `digits/3`.
        given: The number of a row of the version's snapshot, or a row as `own_row` takes it.
        settings: Places and addresses.
        console: Where it is shown.
        picture: Where the picture is written. Default: the folder `explanations` of the home.

    Raises:
        RoundhouseError: There is no such version or row, or it cannot be read.
    """
    prepare_home(settings)
    environment.apply(environment.credentials(settings))
    databases.prepare_databases(settings)
    with libraries_print_to(settings.log_folder / LOG):
        found = _find(address, given, settings)
    show_row(console, found.row, found.who, found.kind)
    if found.png is None:
        console.print(Text("The images are personal, so no picture is drawn.", "dim"))
        return
    if picture is None and not found.may_be_kept:
        told = "The row has personal columns, so its picture is written with --picture FILE only."
        console.print(Text(told, "dim"), soft_wrap=True)
        return
    path = picture or settings.home_folder / "explanations" / found.file_name
    with disk_errors(str(path.parent)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.png)
    console.print(Text(f"Picture   {path}"), soft_wrap=True)


def _find(address: str, given: Sequence[str], settings: Settings) -> _Found:
    from tasks.explaining import explain_rows
    from tasks.explanation_pictures import row_sheet
    from tasks.recorded_lineage import recorded_lineage
    from tasks.registered_model import open_version
    from tasks.registry import Registry
    from tasks.versions import locate_version

    place, number = locate_version(address, settings)
    registry, storage = Registry(place), Storage(settings.storage_uri)
    lineage = recorded_lineage(registry, number, settings.mlflow_uri, storage)
    snapshot, wanted = lineage.prepared.snapshot, row_number(given)
    with storage.workspace() as folder:
        version = open_version(registry, number, folder)
        if wanted is None:
            with _home_key(settings, snapshot):
                asked = _of_own(given, version)
        else:
            asked = _of_snapshot(wanted, snapshot, storage, version, address)
        kind, maximum = version.fitted["kind"], version.fitted.get("maximum")
        others = _others(snapshot, storage, version) if kind == "table" else None
        explained = explain_rows(version.model, asked, STEPS, others)
    personal = {column.name for column in snapshot.columns if column.personal}
    hidden = kind == "image" and version.fitted["name"] in asked.personal
    return _Found(
        who=f"{registry.name} v{number}",
        kind=kind,
        row=explained.rows[0],
        png=None if hidden else row_sheet(explained, asked.inputs, maximum, kind),
        file_name=f"{registry.name}-v{number}-row-{'yours' if wanted is None else wanted}.png",
        may_be_kept=wanted is not None or personal.isdisjoint(version.columns),
    )


@contextlib.contextmanager
def _home_key(settings: Settings, snapshot: "Snapshot") -> Iterator[None]:
    """What was hashed for the training can be hashed here: the home's key, if no other is set."""
    if not snapshot.privacy_key or os.environ.get(PRIVACY_KEY, "").strip():
        yield
        return
    shared = "://" in settings.storage_uri
    os.environ[PRIVACY_KEY] = privacy_key(settings.home_folder, shared=shared).hex()
    try:
        yield
    finally:
        del os.environ[PRIVACY_KEY]


def show_row(console: "Console", row: "ExplainedRow", who: str, kind: str) -> None:
    """Shows a prediction, and what each part of the row adds to it."""
    from rich.table import Table

    which = f"row {row.row:,} of its snapshot" if row.row >= 0 else "a row of yours"
    sure = "" if row.confidence is None else f", with a probability of {row.confidence:.1%}"
    truth = f"; true is {row.truth}" if row.truth else ""
    console.print(Text(f"{who}, {which}", "bold"))
    console.print(Text(f"Predicts  {row.prediction}{sure}{truth}"), soft_wrap=True)
    told = f"Explained {row.explained}: from {row.start:.4g}, {STARTS[kind]}, to {row.end:.4g}"
    console.print(Text(told), soft_wrap=True)
    largest = max((abs(value) for _, value in row.attributions), default=0.0) or 1.0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (("part", "left"), ("adds", "right"), ("", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]  # two of its literals
    for name, value in row.attributions:
        length = round(BAR * abs(value) / largest)
        colour = "dark_orange" if value > 0 else "blue"
        table.add_row(Text(name), f"{value:+.4f}", Text("█" * length, colour))
    if row.attributions:
        console.print(table)


def _of_own(given: Sequence[str], version: "RegisteredVersion") -> "Asked":
    """A row of somebody's own; he knows what is in it, so nothing of it is hidden."""
    from tasks.raw_rows import shown_value

    raw: Any = own_row(given, version)
    is_table = version.fitted["kind"] == "table"
    values = {name: shown_value(raw[name].iloc[0]) for name in version.columns} if is_table else {}
    return _asked(version, raw, -1, values, frozenset())


def _of_snapshot(
    number: int, snapshot: "Snapshot", storage: "Storage", version: "RegisteredVersion", who: str
) -> "Asked":
    """A row of the snapshot that the version was made from."""
    from tasks.raw_rows import raw_values
    from tasks.snapshots import images, read_snapshot

    if number >= snapshot.rows:
        raise ConfigError(
            f"There is no row {number:,} in the snapshot of {who}; expected 0 to "
            f"{snapshot.rows - 1:,}, as it has {snapshot.rows:,} rows."
        )
    label, kind = snapshot.label.name, version.fitted["kind"]
    table = read_snapshot(storage, snapshot, [*version.columns, label]).slice(number, 1)
    if kind == "image":
        (column,) = snapshot.features
        raw: Any = images(table.combine_chunks(), column)
    else:
        raw = table.select(list(version.columns)).to_pandas()
    rows = np.array([number])
    values = raw_values(storage, snapshot, rows)[0] if kind == "table" else {}
    personal = frozenset(column.name for column in snapshot.columns if column.personal)
    found = _asked(version, raw, number, values, personal)
    truth = table[label][0].as_py()
    if version.fitted["problem"] == "token_classification" and truth is not None:
        truth = truth.split()[found.choices[0].place]
    told = f"{truth:.6g}" if isinstance(truth, float) else str(truth)
    return replace(found, truths=("" if truth is None else told,))


def _asked(
    version: "RegisteredVersion",
    raw: Any,
    number: int,
    values: dict[str, str],
    personal: frozenset[str],
) -> "Asked":
    from tasks.explained_rows import Choice, place_of
    from tasks.explaining import Asked

    inputs, words = version.prepared(raw)
    fitted, place = version.fitted, 0
    if fitted["problem"] in {"token_classification", "text_generation"}:
        texts = version.code.as_texts(raw, fitted["name"])
        counts = np.array([len(text.split()) for text in texts])
        if not counts[0]:
            raise ConfigError("The text is empty; expected at least one word to explain.")
        found = version.outputs.predict(version.model.respond, inputs, fitted, words, counts)
        place = place_of(fitted["problem"], found[0], fitted["classes"])
    choices = (Choice(0, "asked for", place),)
    return Asked(inputs, choices, (number,), ("",), (values,), words, personal)


def _others(snapshot: "Snapshot", storage: "Storage", version: "RegisteredVersion") -> Any:
    """Rows of the snapshot that a row is compared with; the same ones each time."""
    from tasks.asking import some_rows
    from tasks.snapshots import read_snapshot

    table = read_snapshot(storage, snapshot, list(version.columns))
    chosen = some_rows(np.arange(table.num_rows), OTHER_ROWS)
    inputs, _ = version.prepared(table.take(chosen).to_pandas())
    return inputs
