from typing import Any

import pytest

from flows.promoting import promote, roll_back
from flows.training import train
from infra.forms import mistakes, pipeline_form, plain_form, require_valid, training_form
from infra.pipelines import configure, load_pipelines
from tasks.errors import ConfigError
from tasks.remote import holds_secret
from tasks.settings import Settings

PIPELINES = load_pipelines(Settings().pipelines)
SCHEMA = plain_form(train)
TYPES = {"string", "integer", "number", "boolean", "array", "object"}


def form_of(name: str) -> dict[str, Any]:
    pipeline = PIPELINES[name]
    return training_form(SCHEMA, configure(pipeline, ()), pipeline.parameters)


def with_change(name: str, stage: str, **fields: Any) -> dict[str, Any]:
    parameters = dict(PIPELINES[name].parameters)
    return {**parameters, stage: {**parameters.get(stage, {}), **fields}}


def fields(form: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each field with its stage and name, those outside of a stage as well."""
    found = []
    for stage, group in form["properties"].items():
        inner = group.get("properties", {"": group})
        found += [(f"{stage}.{name}".strip("."), field) for name, field in inner.items()]
    return found


@pytest.mark.parametrize("name", PIPELINES)
def test_every_field_is_typed_titled_and_described_with_no_json_box(name: str) -> None:
    for place, field in fields(form_of(name)):
        assert field["type"] in TYPES, place
        assert not {"anyOf", "oneOf", "allOf", "$ref"} & field.keys(), place
        assert field["title"][0].isupper(), place
        assert field["description"], place


@pytest.mark.parametrize("name", PIPELINES)
def test_the_form_accepts_the_block_and_what_it_is_filled_with(name: str) -> None:
    form = form_of(name)
    assert mistakes(form, PIPELINES[name].parameters) == []
    filled = {key: field["default"] for key, field in form["properties"].items()}
    assert mistakes(form, {"pipeline": name, **filled}) == []
    choices = {"force", "overlap"}
    config = configure(PIPELINES[name], ())
    pipeline = type(config).model_validate(
        {"pipeline": name, **{k: v for k, v in filled.items() if k not in choices}}
    )
    assert pipeline == config


def test_a_pipeline_shows_the_fields_of_its_own_model_and_data_alone() -> None:
    digits, cnn, churn = (dict(fields(form_of(n))) for n in ("digits", "mnist-cnn", "churn"))
    assert "model.filters" in cnn
    assert "model.filters" not in digits
    assert "preparation.imputation" in churn
    assert not [place for place in digits if place.startswith("preparation.")]
    assert "evaluation.mistakes" in digits
    assert "evaluation.mistakes" not in churn
    formats = digits["export.formats"]
    assert (formats["type"], formats["minItems"]) == ("array", 0)
    assert formats["items"]["enum"] == ["keras", "litert", "onnx", "saved_model"]
    trees = dict(fields(form_of("churn-boosting")))
    assert not [place for place in trees if place.startswith("export.")]
    for form in (digits, cnn, churn):
        assert not {"pipeline", "ingestion.dataset", "model.architecture"} & form.keys()


def test_a_field_shows_the_pipelines_value_and_its_bounds() -> None:
    form = dict(fields(form_of("digits")))
    learning_rate = form["training.learning_rate"]
    assert (learning_rate["default"], learning_rate["exclusiveMinimum"]) == (0.005, 0)
    assert form["model.hidden_units"]["items"] == {
        "type": "integer", "minimum": 1, "maximum": 65536,
    }  # fmt: skip
    assert form["model.hidden_units"]["maxItems"] == 8
    assert form["overlap"]["enum"] == ["wait", "supersede"]
    assert form["force"]["type"] == "boolean"
    assert "roc_auc" in form["gate.metric"]["enum"]


@pytest.mark.parametrize(
    ("stage", "changes", "sentence"),
    [
        ("training", {"epochs": 0}, "training.epochs: 0 is less than the minimum of 1"),
        ("training", {"epochs": "many"}, "training.epochs: 'many' is not"),
        ("training", {"epoch": 3}, "'epoch' was unexpected|'epoch' does not match"),
        ("model", {"architecture": "cnn"}, "model.architecture: 'mlp' was expected"),
        ("model", {"filters": [8]}, "'filters' was unexpected|'filters' does not match"),
        ("ingestion", {"dataset": "mnist"}, "ingestion.dataset: 'digits' was expected"),
        ("ingestion", {"location": "https://h/x?sig=hush"}, "location: an address without user"),
        ("gate", {"metric": "acuracy"}, "gate.metric: 'acuracy' is not one of"),
        ("trainin", {"epochs": 3}, "'trainin' was unexpected|'trainin' does not match"),
    ],
)
def test_what_is_not_of_this_pipeline_is_refused(
    stage: str, changes: dict[str, Any], sentence: str
) -> None:
    form = form_of("digits")
    with pytest.raises(ConfigError, match=sentence):
        require_valid("digits", form, with_change("digits", stage, **changes))


def test_a_field_that_the_block_sets_is_required_in_its_stage() -> None:
    groups = form_of("digits")["properties"]
    assert groups["training"]["required"] == ["learning_rate"]
    assert groups["gate"]["required"] == ["minimum", "margin"]
    assert groups["checks"]["required"] == []
    assert form_of("mnist-cnn")["properties"]["model"]["required"][0] == "architecture"


def test_a_field_that_the_block_sets_is_shown_in_any_case() -> None:
    pipeline = PIPELINES["digits"]
    parameters = with_change("digits", "model", filters=[8])
    form = training_form(SCHEMA, configure(pipeline, ["model.filters=[8]"]), parameters)
    assert form["properties"]["model"]["properties"]["filters"]["default"] == [8]


@pytest.mark.parametrize(
    "address",
    [
        "/data/me@work?", "file:///data?", "https://host/x", "s3://bucket/me@work",
        "abfs://container@account.dfs/x", "http://me:hush@host/x", "https://token@host/x",
        "https://host/x?token=t", "s3://key:secret@bucket", "https://a@b:c@host", "memory://x?\nk",
    ],
)  # fmt: skip
def test_a_location_with_a_password_is_refused_before_there_is_a_run(address: str) -> None:
    """By the form, which the API checks as well, exactly where the configuration refuses it."""
    form = form_of("digits")
    found = mistakes(form, with_change("digits", "ingestion", location=address))
    assert bool(found) is holds_secret(address)
    assert "hush" not in str(found)
    assert form["properties"]["ingestion"]["properties"]["location"]["type"] == "string"
    location = {**PIPELINES["digits"].parameters["ingestion"], "location": None}
    assert mistakes(form, {"pipeline": "digits", "ingestion": location}) == []


def test_a_group_says_what_must_be_sent_with_it_through_the_api() -> None:
    form = form_of("digits")
    assert "send learning_rate as well" in form["properties"]["training"]["description"]
    assert "as well" not in form["properties"]["checks"]["description"]
    alone = {"pipeline": "digits", "training": {"epochs": 3}}
    assert mistakes(form, alone) == []
    sentence = "'learning_rate' is a required property, as what is given here replaces"
    assert sentence in mistakes(form, alone, complete=True)[0]


def test_slices_are_chosen_among_the_columns_of_the_data() -> None:
    form = form_of("income")
    for columns, expected in (
        (["age", "age=25,40,65", "sex", "hours-per-week=-1.5"], []),
        (["agee"], ["slices.columns.0: 'agee' is no column of the dataset, or has edges"]),
        (["sex=1"], ["slices.columns.0: 'sex=1' is no column of the dataset"]),
    ):
        found = mistakes(form, with_change("income", "slices", columns=columns))
        assert len(found) == len(expected)
        assert all(map(str.startswith, found, expected))
    shown = dict(fields(form))["slices.sensitive"]
    assert shown["default"] == ["sex", "race"]
    assert "Columns: age, workclass, fnlwgt, " in shown["description"]
    texts = dict(fields(form_of("text-generation")))
    assert "slices.columns" in texts
    assert not {"slices.sensitive", "gate.parity_gap", "gate.odds_gap"} & texts.keys()


@pytest.mark.parametrize("flow", [promote, roll_back])
def test_a_decision_has_a_drop_down_of_the_pipelines_and_needs_a_reason(flow: Any) -> None:
    form = pipeline_form(plain_form(flow), list(PIPELINES))
    for place, field in fields(form):
        assert field["type"] in TYPES, place
        assert field["title"][0].isupper(), place
        assert field["description"], place
    assert form["properties"]["pipeline"]["enum"] == list(PIPELINES)
    assert {"pipeline", "because"} <= set(form["required"])
    good = {"pipeline": "digits", "version": "3", "because": "it errs"}
    assert mistakes(form, good, complete=True) == []
    for version in ("v3", "challenger", "@challenger"):
        assert mistakes(form, {**good, "version": version}, complete=True) == []
    for wrong in ({"pipeline": "digit"}, {"because": " "}, {"version": "3; rm"}, {"reason": "x"}):
        assert len(mistakes(form, {**good, **wrong}, complete=True)) == 1
    assert mistakes(form, {"pipeline": "digits", "version": "3"}, complete=True)
