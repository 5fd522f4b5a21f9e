from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.pipelines import configure, get_pipeline, load_pipelines
from tasks.errors import ConfigError
from tasks.planning import plan_run
from tasks.settings import Settings


@flow(name="planning", persist_result=False)
def planning(home: str) -> None:
    """Plans a run as a worker does that was told of no MLflow server."""
    settings = Settings(home=Path(home))
    plan_run(get_pipeline(load_pipelines(settings.pipelines), "digits"), settings)


def test_a_deployed_run_never_trains_into_a_home_of_its_workers(
    prefect_server: str, tmp_path: Path
) -> None:
    values = {PREFECT_API_URL: prefect_server}
    with temporary_settings(values), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(planning), "planning")
        run = client.create_flow_run_from_deployment(deployment)
        with pytest.raises(
            ConfigError, match=r"ROUNDHOUSE_TRACKING_URI is not.*`roundhouse worker"
        ):
            run_flow(planning, run, parameters={"home": str(tmp_path / "home")})
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["slices.sensitive=[race]"], "slices.sensitive names the column 'race', which there is"),
        (["slices.columns=[digit=3]"], "expected no edges, as it is of kind category"),
        (["gate.slice_loss=0.02"], "gate.slice_loss is set and there are no slices"),
    ],
)
def test_slices_that_cannot_be_made_are_refused_before_there_is_a_run(
    changes: list[str], sentence: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home")
    config = configure(load_pipelines(settings.pipelines)["digits"], changes)
    with pytest.raises(ConfigError, match=sentence):
        plan_run.fn(config, settings)
    assert not (tmp_path / "home" / "mlflow.db").exists()
