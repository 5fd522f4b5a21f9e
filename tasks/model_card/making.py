"""How a model was made and proved: training, proof, other forms and lineage."""

from collections.abc import Mapping

from tasks.appraisal import ExplainedRow, Explanation, Lineage
from tasks.energy import Consumption
from tasks.exports import Exports
from tasks.handoffs import RunContext
from tasks.judgement import Package, Proof
from tasks.model_card.document import (
    Bar,
    Cell,
    Code,
    Link,
    Notes,
    Part,
    Pictures,
    Section,
    Table,
    facts,
    listed,
    section,
)
from tasks.model_card.figures import BLANK, in_words
from tasks.rules import figure

# of more columns, those that matter most; of more pictures the rest are in the run
COLUMNS, PICTURES, PARTS = 15, 8, 3
JOULES_PER_WATT_HOUR = 3600
MINUTE, HOUR = 60, 3600
LEARNING_CURVES = "learning_curves.png"


def training(lineage: Lineage) -> Section | None:
    """The network, the loop, what it ran on and what it took."""
    trained = lineage.trained
    model = lineage.configuration.get("model")
    architecture = model.get("architecture") if isinstance(model, dict) else None
    epochs = len(next(iter(trained.history.values()), ()))
    hardware = trained.hardware
    resumed = trained.resumed_from
    about = facts(
        network=Code(str(architecture)) if architecture else None,
        parameters=f"{trained.parameters:,}",
        started_from=trained.initial.sentence or None,
        epochs=f"{epochs:,}, the best is {trained.best_epoch:,}" if epochs else None,
        time=f"{duration(trained.seconds)}, {trained.rows_per_second:,.0f} rows a second"
        + (f"; without the {resumed:,} epochs before it was interrupted" if resumed else ""),
        hardware=f"{', '.join(hardware.devices)}, {hardware.cpu_count} CPUs; {hardware.backend}, "
        f"{hardware.precision}",
        processor_time=_processor_time(trained.consumption),
        energy=energy_in_words(trained.consumption),
        seed=str(trained.seed),
    )
    curves = {n: f for n, f in lineage.evaluation.pictures.items() if n == LEARNING_CURVES}
    return section("training", "Network and training", about, Pictures(curves))


def energy_in_words(consumption: Consumption | None) -> str:
    """The energy of training; that it was not measured where nothing could measure it."""
    if consumption is None:
        return "not measured"
    joules = consumption.energy_joules
    if joules is None:
        return "not measurable here: no energy counter can be read"
    shown = f"{joules:,.0f} J" if joules < JOULES_PER_WATT_HOUR else (
        f"{joules / JOULES_PER_WATT_HOUR:,.3g} Wh"
    )  # fmt: skip
    return f"{shown} of the machine's {', '.join(consumption.energy_of)} meanwhile"


def _processor_time(consumption: Consumption | None) -> str | None:
    return duration(consumption.cpu_seconds) if consumption else None


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < MINUTE:
        return f"{seconds:.3g} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min {seconds % MINUTE:.0f} s"
    return f"{int(seconds // HOUR)} h {seconds % HOUR / MINUTE:.0f} min"


def proof(found: Proof, package: Package) -> Section | None:
    """What a fresh process found as it loaded and asked the registered version."""
    latency = found.latency_median_ms
    tail = (
        ""
        if found.latency_p99_ms is None
        else f", {found.latency_p99_ms:.3g} ms at the 99th percentile"
    )
    about = facts(
        predictions=f"{found.rows:,} reproduced by a fresh process, the largest difference is "
        f"{found.largest_difference:.1g} (allowed {found.tolerance:.1g})",
        over_HTTP=f"{found.served_rows:,} rows by MLflow's scoring server"
        if found.served_rows
        else None,
        refused=", ".join(found.refused) if found.refused else None,
        package=f"{package.size / 1e6:,.1f} MB in {len(package.files):,} files",
        loads_in=duration(found.load_seconds),
        memory=f"{found.memory_bytes / 1e6:,.0f} MB more, loaded and serving"
        if found.memory_bytes
        else None,
        latency=f"{latency:.3g} ms for a single row{tail}" if latency else None,
        requirements=listed(found.requirements) if found.requirements else None,
        pickle="deserialization off",
    )
    return section("proof", "Proof", about)


def explanation(found: Explanation) -> Section | None:
    """What the model looks at: columns, pictures, and single rows."""
    top = found.importances[:COLUMNS]
    most = max((abs(importance.mean) for importance in top), default=0.0) or 1.0
    table = Table(
        ("Column", f"Loss of {in_words(found.metric)} when shuffled", "±"),
        tuple(
            (i.column, Bar(f"{i.mean:.4f}", max(i.mean, 0) / most), f"{i.deviation:.4f}")
            for i in top
        ),
    )
    left = len(found.importances) - len(top)
    more = (f"{left:,} more columns are in the run.",) if left > 0 else ()
    notes = Notes((*more, *found.notes))
    rows = Table(
        ("Row", "Why it is here", "Truth", "Prediction", "Most of it by", "Confidence"),
        tuple(
            (f"{row.row:,}", row.chosen, row.truth, row.prediction, _decisive(row),
             BLANK if row.confidence is None else figure(row.confidence))
            for row in found.rows
        ),
        texts=5,
    )  # fmt: skip
    # the table draws them already
    names = [name for name in found.pictures if name != "importances.png"][:PICTURES]
    pictures = Pictures({name: found.pictures[name] for name in names})
    return section("explanation", "What it looks at", table, notes, pictures, rows)


def _decisive(row: ExplainedRow) -> str:
    """The parts of a row that add most to its prediction, or take most from it."""
    parts = sorted(row.attributions, key=lambda part: -abs(part[1]))[:PARTS]
    return ", ".join(f"{name} ({value:+.2f})" for name, value in parts) or BLANK


def exports(found: Exports) -> Section | None:
    """The network in other forms, against the original."""
    rows: list[tuple[Cell, ...]] = []
    for form in found.forms:
        metric, latency = form.metrics.get(found.metric), form.latency_median_ms
        difference = form.largest_difference
        rows.append(
            (
                form.form,
                f"{form.size / 1e6:,.2f}" if form.size else BLANK,
                BLANK if metric is None else figure(metric),
                BLANK if difference is None else f"{difference:.2g}",
                BLANK if latency is None else f"{latency:.3g}",
            )
        )
    head = ("Form", "MB", in_words(found.metric), "Largest difference", "ms a row")
    reasons = Notes(
        tuple(f"{form.form} {form.reason}" for form in found.made),
        tuple("passed" if form.kept else "failed" for form in found.made),
    )
    return section("exports", "Smaller and elsewhere", Table(head, tuple(rows)), reasons)


def origin(lineage: Lineage, context: RunContext) -> Section | None:
    """Where it comes from, and how to make it again."""
    known, registered = lineage.surroundings, lineage.registered
    lock = known.get("roundhouse.lock")
    about = facts(
        version=Code(registered.uri),
        code=commit_of(known),
        lock=Code(lock) if lock else None,
        fingerprint=Code(registered.fingerprint),
        snapshot=Code(lineage.prepared.snapshot.file.sha256),
        network=Code(lineage.trained.network.sha256),
        seeds=f"training {lineage.trained.seed}, split {lineage.prepared.split.get('seed', 0)}",
        runs=runs_of(context, known.get("roundhouse.prefect_address", "")),
        whole_lineage=Link("lineage.json", context.file_page("lineage.json")),
        make_it_again=Code(f"roundhouse reproduce {registered.name}/{registered.version}"),
    )
    return section("lineage", "Lineage", about)


def commit_of(known: Mapping[str, str]) -> str | tuple[Part, ...]:
    """The commit of the code, from what `tasks.lineage` knows of it."""
    commit = known.get("mlflow.source.git.commit", "")
    if not commit:
        return "not under version control"
    dirty = known.get("roundhouse.git_dirty") == "true"
    return ("commit ", Code(commit), ", and changes on top of it" if dirty else "")


def runs_of(context: RunContext, prefect: str) -> tuple[Part, ...]:
    """Links to the run's pages.

    Args:
        context: The run.
        prefect: Address of the Prefect run; empty where there is none.
    """
    more = (", ", Link("Prefect run", prefect)) if prefect else ()
    return (Link("MLflow run", context.run_page), *more)
