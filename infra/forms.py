"""The form behind "Run" in the Prefect UI: a parameter schema of each pipeline's own.

Prefect draws a typed field for each plain property, and a JSON box for what it cannot draw. It also
checks the values against the schema before a run exists. The parameters of a run replace those of
the deployment stage by stage, whole; so a field that the pipeline sets is required in its stage, or
a run without it would silently train with the class's default.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import PipelineConfig
from tasks.datasets import Dataset, get_dataset
from tasks.errors import ConfigError
from tasks.membership import WITH_GAPS, sliceable
from tasks.metrics import known_metrics
from tasks.models import fields_used, is_estimator
from tasks.remote import scrubbed

if TYPE_CHECKING:
    from prefect import Flow

# what makes a pipeline the pipeline it is: not asked, and refused if it is another
FIXED = (("ingestion", "dataset"), ("model", "architecture"))
# fields that mean something for one problem, one kind of column, or networks that have a backbone
PROBLEMS = {
    ("checks", "minimum_label_share"): "classification",
    ("ingestion", "labels"): "classification",
    ("split", "training_rows_per_label"): "classification",
    ("training", "class_weights"): "classification",
    ("training", "labels"): "classification",
    ("training", "label_smoothing"): "classification",
    ("evaluation", "calibration_bins"): "classification",
    ("training", "loss"): "regression",
    ("evaluation", "generated_rows"): "text_generation",
    ("gate", "parity_gap"): "classification",
    ("gate", "odds_gap"): "classification",
}
KINDS = {
    ("preparation", "scaling"): "numeric",
    ("preparation", "imputation"): "numeric",
    ("preparation", "minimum_category_rows"): "category",
    ("preparation", "categories"): "category",
    ("preparation", "tokens"): "text",
    ("preparation", "vocabulary"): "text",
    ("preparation", "vocabulary_size"): "text",
    ("preparation", "text_length"): "text",
    ("preparation", "lowercase"): "text",
    ("training", "shift"): "image",
    ("training", "rotation"): "image",
    ("training", "zoom"): "image",
    ("evaluation", "mistakes"): "image",
}
WITH_BACKBONE = ("frozen_epochs", "fine_tuning_rate", "fine_tuned_layers")
ALWAYS_OF_MODEL = ("architecture", "initial_weights", "initial_part")
# what tasks.remote.holds_secret refuses, as a pattern that JavaScript reads the same: a run that is
# refused by the form never exists, and so keeps no parameters
WITHOUT_SECRET = (
    r"^(?:file://|(?![\s\S]*://)|(?![\s\S]*\?)(?!http[\s\S]*://[^\s/?#]*@)"
    r"(?![\s\S]*://[^\s/?#]*:[^\s/?#]*@))"
)
# of a column that has ranges
EDGES = r"(?:=-?[0-9.]+(?:,-?[0-9.]+)*)?"


def plain_form(flow: "Flow[..., Any]") -> dict[str, Any]:
    """The parameter schema of a flow as Prefect makes it."""
    from prefect.utilities.callables import parameter_schema

    return dict(parameter_schema(flow).model_dump_for_openapi())


def pipeline_form(schema: Mapping[str, Any], pipelines: Sequence[str]) -> dict[str, Any]:
    """The parameter schema of a flow about one pipeline, which is chosen from those there are.

    Args:
        schema: The flow's own, as `plain_form` gives it.
        pipelines: Names of the pipelines.
    """
    properties = {}
    for name, parameter in schema["properties"].items():
        shown = _field(name, parameter)
        if parameter.get("default") is not None:
            shown["default"] = parameter["default"]
        properties[name] = {**shown, "description": " ".join(shown["description"].split())}
    properties["pipeline"]["enum"] = list(pipelines)
    return {**schema, "properties": properties, "additionalProperties": False}


def training_form(
    schema: Mapping[str, Any], config: PipelineConfig, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameter schema of one pipeline.

    Args:
        schema: The training flow's own, as `plain_form` gives it.
        config: The pipeline's configuration.
        parameters: The block's parameters, of which the fields are shown in any case.
    """
    properties: dict[str, Any] = {}
    for name, parameter in schema["properties"].items():
        if name in ("pipeline",):
            continue
        if "$ref" in parameter:
            definition = schema["definitions"][parameter["$ref"].rpartition("/")[2]]
            group = _group(name, definition, config, parameters.get(name) or {})
            if group["properties"]:
                properties[name] = {**group, "position": parameter["position"]}
        else:
            default = parameters.get(name, parameter.get("default"))
            properties[name] = {**_field(name, parameter), "default": default}
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^pipeline$": {"const": config.pipeline}},
        "additionalProperties": False,
        "required": list(schema.get("required", ())),
        "definitions": {},
    }


def _group(
    stage: str, definition: Mapping[str, Any], config: PipelineConfig, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of one stage."""
    model = getattr(config, stage)
    values = model.model_dump(mode="json")
    dataset = get_dataset(config.ingestion.dataset)
    properties, fixed, required = {}, {}, []
    for name, raw in definition["properties"].items():
        standard = type(model).model_fields[name]
        if standard.is_required() or standard.get_default() != getattr(model, name):
            required.append(name)
        if (stage, name) in FIXED:
            fixed[f"^{name}$"] = {"const": values[name]}
        elif name in given or _applies(stage, name, dataset, config.model.architecture):
            shown = _field(name, raw)
            if (stage, name) == ("gate", "metric"):
                shown["enum"] = list(known_metrics(dataset.problem))
            if (stage, name) == ("ingestion", "location"):
                shown["pattern"] = WITHOUT_SECRET
                shown["description"] += (
                    " No user, password or query: each run shows its parameters."
                )
            if shown.get("type") == "array":
                # the form takes an empty list for a missing one, unless it is said to be allowed
                shown.setdefault("minItems", 0)
            if stage == "slices" and shown.get("type") == "array":
                shown |= _named_columns(dataset, str(shown["description"]))
            properties[name] = shown if values[name] is None else {**shown, "default": values[name]}
    described = {"ingestion": f": {dataset.title}.", "model": f": {config.model.architecture}."}
    hidden = {name for stage_, name in FIXED if stage_ == stage}
    default = {key: values[key] for key in values if key in properties or key in hidden}
    return {
        "title": _title(stage),
        "description": definition.get("description", "").rstrip(".")
        + described.get(stage, ".")
        + _replacement(required),
        "type": "object",
        "properties": properties,
        "patternProperties": fixed,
        "additionalProperties": False,
        "required": required,
        "default": {key: value for key, value in default.items() if value is not None},
    }


def _named_columns(dataset: Dataset, description: str) -> dict[str, Any]:
    """A list of columns, those that have ranges with or without edges: so a typo makes no run."""
    ways = [
        # not re.escape, whose `\-` JavaScript refuses
        re.sub(r"[.*+?^${}()|[\]\\/]", r"\\\g<0>", name)
        + (EDGES if kind in ("numeric", "text") else "")
        for name, kind in ((column.name, column.kind) for column in dataset.columns)
        if name in sliceable(dataset.columns)
    ]
    return {
        "items": {"type": "string", "pattern": f"^(?:{'|'.join(ways)})$"},
        "description": f"{description} Columns: {', '.join(sliceable(dataset.columns))}.",
    }


def _replacement(required: Sequence[str]) -> str:
    """What whoever calls the API must know, as the form sends every field by itself."""
    if not required:
        return ""
    return (
        " What a run is given here replaces the pipeline's whole group: through the API, send "
        f"{', '.join(required)} as well."
    )


def _applies(stage: str, name: str, dataset: Dataset, architecture: str) -> bool:
    """Whether a field means anything for a dataset and an architecture."""
    used = fields_used(architecture)
    if stage == "model":
        return name in ALWAYS_OF_MODEL or name in used
    if stage == "export" and is_estimator(architecture):
        return False
    if stage == "training" and name in WITH_BACKBONE:
        return "pretrained" in used
    if (stage, name) == ("slices", "sensitive"):
        return dataset.problem in WITH_GAPS
    if (stage, name) in PROBLEMS:
        return dataset.problem == PROBLEMS[stage, name]
    features = [column for column in dataset.columns if column.role == "feature"]
    if stage == "ingestion" and name in {"image_size", "damaged"}:
        return any(column.kind == "image" and column.shape is None for column in features)
    if (stage, name) == ("evaluation", "season_hours"):
        return any(column.kind == "time" for column in dataset.columns)
    kind = KINDS.get((stage, name))
    return kind is None or any(column.kind == kind for column in features)


def _field(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """A property that the UI draws as one typed field: a value or none, not a choice of types."""
    shown = {key: value for key, value in raw.items() if key not in ("anyOf", "default")}
    types = [kind for kind in raw.get("anyOf", ()) if kind.get("type") != "null"]
    if len(types) == 1:
        shown.update(types[0])
    elif types:
        shown["anyOf"] = types
    return {**shown, "title": _title(name)}


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def mistakes(
    form: Mapping[str, Any], parameters: Mapping[str, Any], *, complete: bool = False
) -> list[str]:
    """What is wrong with parameters, by the schema that Prefect will enforce.

    Args:
        form: The schema.
        parameters: Of a deployment, or of a run.
        complete: Whether they are all that a run gets, so that nothing required may be missing.
    """
    from prefect.utilities.schema_tools import validate

    found = validate(dict(parameters), dict(form), ignore_required=not complete)
    return [f"{'.'.join(map(str, error.path)) or 'parameters'}: {_said(error)}" for error in found]


def _said(error: Any) -> str:  # jsonschema ships no types
    """What is wrong with one value, which is not shown where it may hold a password."""
    if error.validator == "pattern" and error.validator_value == WITHOUT_SECRET:
        return "an address without user, password and query was expected"
    if error.validator == "pattern" and error.path[0] == "slices":
        return f"{error.instance!r} is no column of the dataset, or has edges that are no numbers"
    if error.validator == "required" and error.path:
        return f"{error.message}, as what is given here replaces the pipeline's whole group"
    return scrubbed(str(error.message))


def require_valid(
    name: str, form: Mapping[str, Any], parameters: Mapping[str, Any], *, complete: bool = False
) -> None:
    """Makes sure that parameters are those of their flow.

    Args:
        name: Whose they are, for the message.
        form: The schema.
        parameters: Of a block, or of one of its schedules' runs.
        complete: Whether they are all that a run gets.

    Raises:
        ConfigError: They are not.
    """
    if wrong := mistakes(form, parameters, complete=complete):
        raise ConfigError(
            f"The parameters of {name} are not those of its flow: {'; '.join(wrong[:3])}. Expected "
            f"some of {', '.join(form['properties'])}. Correct the block."
        )
