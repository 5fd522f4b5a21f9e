from pathlib import Path

import pytest

from infra.pipelines import Pipeline, configure, get_pipeline, load_blocks, load_pipelines
from tasks.errors import ConfigError
from tasks.settings import Settings

PIPELINES = load_pipelines(Settings().pipelines)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_block_is_a_valid_pipeline_of_its_own_name(name: str) -> None:
    config = configure(PIPELINES[name], ())
    assert config.pipeline == name


@pytest.mark.parametrize("name", PIPELINES)
def test_every_schedule_has_a_slug_and_a_time_zone(name: str) -> None:
    import yaml

    blocks = yaml.safe_load(Settings().pipelines.read_text())["deployments"]
    block = next(block for block in blocks if block["name"] == name)
    assert all(schedule["slug"] and schedule["timezone"] for schedule in block["schedules"])


def test_the_pipelines_of_the_first_release_are_there() -> None:
    assert {"digits", "breast-cancer", "churn", "mnist-cnn"} <= set(PIPELINES)


def test_a_change_is_applied_and_leaves_the_block_alone() -> None:
    changed = configure(PIPELINES["digits"], ["training.epochs=3", "model.hidden_units=[8, 4]"])
    assert changed.training.epochs == 3
    assert changed.model.hidden_units == (8, 4)
    assert configure(PIPELINES["digits"], ()).training.epochs != 3


def test_an_unknown_pipeline_lists_the_known_and_suggests_the_nearest() -> None:
    sentence = r"Unknown pipeline 'digit'. Did you mean 'digits'\? Known"
    with pytest.raises(ConfigError, match=sentence):
        get_pipeline(PIPELINES, "digit")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("training.epoch=3", "Unknown key 'training.epoch'. Did you mean 'epochs'\\?"),
        ("traning.epochs=3", "Unknown key 'traning.epochs' in --set. Did you mean 'training'\\?"),
        ("training.epochs=many", "Received training.epochs='many'; input should be"),
        ("training.epochs=0", "Received training.epochs=0; input should be greater than or equal"),
        ("training.epochs=2.5", "Received training.epochs=2.5; input should be a valid integer"),
        ("training.learning_rate=.nan", "Received training.learning_rate=nan"),
        ("model.architecture=rnn", "There is no architecture 'rnn'"),
        ("epochs=3", "expected stage.field=value, such as training.epochs=3"),
        ("training.epochs", "expected stage.field=value"),
        ("training.epochs=[", "its value cannot be read"),
        ("pipeline.name=x", "Unknown key 'pipeline.name'"),
    ],
)
def test_a_wrong_change_gets_one_clear_sentence(change: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        configure(PIPELINES["digits"], [change])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["deployments: 3", "- a list", "deployments: [{name: x", "other: {}", ""]
)
def test_a_file_that_is_no_prefect_yaml_is_said_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match="is not a list of deployments"):
        load_pipelines(path)


def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*ROUNDHOUSE_PIPELINES"):
        load_pipelines(tmp_path / "none.yaml")


def test_a_copied_block_must_not_train_under_its_old_name(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(Settings().pipelines.read_text().replace("name: digits\n", "name: mine\n"))
    with pytest.raises(ConfigError, match=r"'mine' trains the pipeline 'digits'.*pipeline: mine"):
        configure(load_pipelines(path)["mine"], ())


def test_a_block_without_parameters_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(
        "deployments:\n- name: x\n  entrypoint: flows.training.train\n  parameters:\n  schedules:\n"
    )
    with pytest.raises(ConfigError, match=r"Received pipeline=.*field required"):
        configure(load_pipelines(path)["x"], ())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("gate.metric=acuracy", "gate.metric is 'acuracy'; expected one of accuracy"),
        ("ingestion.dataset=digts", "There is no dataset 'digts'. Did you mean 'digits'"),
    ],
)
def test_names_are_known_before_anything_starts(change: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        configure(PIPELINES["digits"], [change])


def test_a_block_may_choose_how_its_runs_start() -> None:
    digits = PIPELINES["digits"]
    chosen = Pipeline(
        digits.name, "", {**digits.parameters, "force": True, "overlap": "supersede"}, ()
    )
    assert configure(chosen, ()) == configure(digits, ())
    wrong = Pipeline(digits.name, "", {**digits.parameters, "overlap": "both"}, ())
    with pytest.raises(ConfigError, match="Received overlap='both'; input should be 'wait' or"):
        configure(wrong, ())


def test_a_block_of_another_flow_is_no_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text("deployments:\n- {name: other, entrypoint: flows.other.do, pull: [{x: {}}]}\n")
    assert load_pipelines(path) == {}
    assert load_blocks(path)["other"].pull == ({"x": {}},)


def test_a_name_that_comes_twice_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text("deployments:\n- {name: x, entrypoint: a.b}\n- {name: x, entrypoint: a.b}\n")
    with pytest.raises(ConfigError, match="two blocks named 'x'"):
        load_blocks(path)
