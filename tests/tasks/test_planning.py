from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.pipelines import get_pipeline, load_pipelines
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
