"""Pipelines of one dataset side by side, by the real command and on a real server."""

from pathlib import Path
from typing import Any

import pytest

BLOCK = """
  - name: {name}
    entrypoint: flows.training.train
    parameters:
      pipeline: {name}
      ingestion: {{dataset: xor}}
      model: {model}
      training: {training}
"""
BLOCKS = {
    "network": ("{hidden_units: [8], dropout: 0.0}", "{epochs: 12, learning_rate: 0.03}"),
    "linear": ("{hidden_units: [], dropout: 0.0}", "{epochs: 2}"),
    "trees": ("{architecture: boosting, leaf_nodes: 4}", "{epochs: 20, learning_rate: 0.3}"),
    "pictures": ("{architecture: cnn}", "{epochs: 1}"),
}


@pytest.fixture
def pipelines(tmp_path: Path) -> dict[str, str]:
    """The setting that names a file with four pipelines of one dataset, one of which cannot be."""
    blocks = [
        BLOCK.format(name=name, model=model, training=training)
        for name, (model, training) in BLOCKS.items()
    ]
    path = tmp_path / "pipelines.yaml"
    path.write_text(f"name: trial\npull: []\ndeployments:{''.join(blocks)}")
    return {"ROUNDHOUSE_PIPELINES": str(path)}


def test_presets_are_ranked_and_nothing_is_registered(
    roundhouse: Any, prefect_server: str, pipelines: dict[str, str]
) -> None:
    done = roundhouse("compare", "linear", ROUNDHOUSE_PREFECT_API_URL=prefect_server, **pipelines)
    assert done.returncode == 0, done.stderr
    lines = done.stdout[done.stdout.index("preset") :].splitlines()
    places = {line.split()[1]: line.split()[0] for line in lines[1:4]}
    assert places["linear"] == "3"
    assert set(places) == {"linear", "network", "trees"}
    assert "✗ pictures: The architecture 'cnn' got rows" in done.stdout
    assert roundhouse.registry() == []

    *others, parent = roundhouse.runs("compare-xor")
    assert [run.data.tags["mlflow.parentRunId"] for run in others] == [parent.info.run_id] * 4
    figures = {run.info.run_name: run.data.metrics for run in others}
    assert figures["network"]["validation/accuracy"] > figures["linear"]["validation/accuracy"]
    assert not any(name.startswith("test/") for name in figures["network"])
    assert figures["trees"]["latency/median_ms"] > 0

    again = roundhouse(
        "compare", "linear", "--with", "trees", ROUNDHOUSE_PREFECT_API_URL=prefect_server,
        **pipelines,
    )  # fmt: skip
    assert "(reused)" in again.stdout
    assert "network" not in again.stdout


def test_what_cannot_be_compared_is_said_at_once(
    roundhouse: Any, pipelines: dict[str, str]
) -> None:
    done = roundhouse("compare", "linear", "--with", "tree", **pipelines)
    assert done.returncode == 1
    assert "Unknown pipeline 'tree'. Did you mean 'trees'?" in done.stderr
    done = roundhouse("compare", "linear", "--with", "linear", **pipelines)
    assert "only linear to compare" in done.stderr
    done = roundhouse("compare", "linear", "--set", "training.epoch=1", **pipelines)
    assert "Unknown key 'training.epoch'" in done.stderr


def test_a_deployed_comparison_takes_the_pipelines_as_they_are_on_the_server(client: Any) -> None:
    from flows import comparing
    from flows.training import train

    flow_id = client.create_flow(train)
    for name in BLOCKS:
        parameters = {"pipeline": name, "ingestion": {"dataset": "xor"}, "training": {"epochs": 7}}
        client.create_deployment(flow_id=flow_id, name=name, parameters=parameters)
    found = comparing.chosen_presets(comparing._deployed(), "trees", ("network",))
    assert [(preset.pipeline, preset.training.epochs) for preset in found] == [
        ("trees", 7),
        ("network", 7),
    ]
