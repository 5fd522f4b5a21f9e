"""What is known to speak against a model, from what was measured; where nothing was, it says so."""

from collections.abc import Iterator

from tasks.appraisal import Lineage
from tasks.metrics import is_better
from tasks.model_card.document import Notes, Section, Table, section
from tasks.model_card.measured import ClassFigures, Measured, Movement
from tasks.rules import figure

# a class of fewer test rows is hardly measured, and one found less often is hardly found
FEW_ROWS, LOW_RECALL = 30, 0.5
# beyond which a calibration error is worth a sentence
MISCALIBRATED = 0.05
NAMED, MOVED = 5, 8
# half a standard deviation, and five rows in a hundred of another kind
FAR_MEAN, FAR_SHARE = 0.5, 0.05
# less is not told
NOTHING = 0.005


def limits(lineage: Lineage, measured: Measured) -> Section | None:
    """Rare classes, drift, duplicates, calibration, and what was not looked at."""
    told = [
        *_of_the_run(lineage),
        *_of_classes(measured.classes),
        *_of_figures(lineage),
        _drift(measured.movement, lineage),
    ]
    return section("limits", "Limits", Notes(tuple(told)), _moved(measured.movement))


def _of_the_run(lineage: Lineage) -> Iterator[str]:
    prepared = lineage.prepared
    if prepared.snapshot.trial:
        yield f"A trial run: {prepared.snapshot.rows:,} rows were asked for, not all."
    yield from (*prepared.snapshot.warnings, *prepared.warnings)
    for warning in lineage.checks.warnings:
        yield f"Warned by the checks: {warning}"
    if not lineage.slices.table:
        yield "No slices were asked for: nothing is known of parts of the rows (slices.columns)."


def _of_classes(classes: tuple[ClassFigures, ...]) -> Iterator[str]:
    few = [found for found in classes if found.test < FEW_ROWS]
    if few:
        yield (f"Fewer than {FEW_ROWS} test rows of {_names(few)}: their figures are uncertain.")
    low = [found for found in classes if found.recall is not None and found.recall < LOW_RECALL]
    if low:
        yield f"Fewer than half of the rows are found of {_names(low)}."


def _names(classes: list[ClassFigures]) -> str:
    shown = ", ".join(
        f"{found.name} ({found.test:,} test rows, recall "
        f"{'unknown' if found.recall is None else figure(found.recall)})"
        for found in classes[:NAMED]
    )
    more = len(classes) - NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _of_figures(lineage: Lineage) -> Iterator[str]:
    evaluation = lineage.evaluation
    gate = lineage.configuration.get("gate")
    metric = gate.get("metric") if isinstance(gate, dict) else None
    ours = evaluation.metrics.get(str(metric))
    for name, theirs in evaluation.baselines.items():
        value = theirs.get(str(metric))
        if ours is not None and value is not None and is_better(str(metric), value, ours):
            yield (
                f"The plain model beside it ({name.replace('_', ' ')}) does better in "
                f"{str(metric).replace('_', ' ')}: {figure(value)}, against {figure(ours)}."
            )
    error = evaluation.metrics.get("calibration_error")
    if error is not None and error > MISCALIBRATED:
        yield (
            f"Its probabilities are off by {100 * error:.1f} % on average (calibration error): do "
            "not take them for frequencies."
        )


def _drift(movement: Movement | None, lineage: Lineage) -> str:
    before = lineage.promotion.champion_before
    if movement is None:
        if before in (None, lineage.promotion.version):
            return "Drift: not measured, as there is no champion before to compare the data with."
        return f"Drift: not measured, as the data of champion v{before} is not there any more."
    whose = f"the data of champion v{movement.version}"
    if movement.same:
        return f"Drift: none, the snapshot is {whose}; what comes after it is not measured."
    far = [
        shift.column
        for shift in movement.shifts
        if shift.measure > (FAR_MEAN if shift.is_mean else FAR_SHARE)
    ]
    if not movement.shifts:
        return f"Drift: not measured, as no column can be compared with {whose}."
    found = f"{', '.join(far[:NAMED])} moved far" if far else "no column moved far"
    return f"Drift since {whose} ({movement.rows:,} rows): {found}."


def _moved(movement: Movement | None) -> Table | None:
    moved = [shift for shift in movement.shifts if shift.measure >= NOTHING] if movement else []
    if not moved:
        return None
    return Table(
        ("Column", "How it is measured", "Moved by"),
        tuple(
            (
                shift.column,
                "mean, in standard deviations" if shift.is_mean else "share of rows",
                f"{shift.measure:.2f}" if shift.is_mean else f"{100 * shift.measure:.1f} %",
            )
            for shift in moved[:MOVED]
        ),
        texts=2,
    )
