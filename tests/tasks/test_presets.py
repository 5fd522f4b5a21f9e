import logging

import pytest

from tasks.config import GateConfig, IngestionConfig, ModelConfig, PipelineConfig, SplitConfig
from tasks.errors import ConfigError
from tasks.presets import chosen_presets, on_the_same_rows

PARAMETERS = {
    "churn": {"pipeline": "churn", "ingestion": {"dataset": "telco_churn"}, "force": True},
    "digits": {"pipeline": "digits", "ingestion": {"dataset": "digits"}},
    "churn-boosting": {"pipeline": "churn-boosting", "ingestion": {"dataset": "telco_churn"}},
}


def names(presets):
    return [preset.pipeline for preset in presets]


def test_all_pipelines_of_the_dataset_are_chosen_the_named_one_first():
    assert names(chosen_presets(PARAMETERS, "churn-boosting", ())) == ["churn-boosting", "churn"]


def test_or_those_that_are_named_once_each():
    found = chosen_presets(PARAMETERS, "churn", ("digits", "churn"))
    assert names(found) == ["churn", "digits"]


def test_an_unknown_one_is_answered_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"'spam' to compare; there are churn, churn-boosting,"):
        chosen_presets(PARAMETERS, "churn", ("spam",))


def preset(name, dataset="telco_churn", **parts):
    return PipelineConfig(pipeline=name, ingestion=IngestionConfig(dataset=dataset), **parts)


def test_all_get_the_rows_the_split_and_the_metric_of_the_first(caplog):
    first = preset("a", gate=GateConfig(metric="roc_auc"), split=SplitConfig(seed=3))
    other = preset("b", model=ModelConfig(architecture="boosting"))
    with caplog.at_level(logging.WARNING):
        _, found = on_the_same_rows((first, other))
    assert (found.split, found.gate) == (first.split, first.gate)
    assert found.model == other.model
    assert "b has other rows or another split; it is compared on those of a" in caplog.text


def test_one_alone_and_several_datasets_are_no_comparison():
    with pytest.raises(ConfigError, match=r"only a to compare; expected at least 2"):
        on_the_same_rows((preset("a"),))
    with pytest.raises(ConfigError, match=r"a, b are of the datasets digits, telco_churn"):
        on_the_same_rows((preset("a"), preset("b", "digits")))
