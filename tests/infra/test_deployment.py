import io
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.actions import WorkPoolCreate
from rich.console import Console

from infra.clusters.profiles import POOL_TYPE
from infra.deployment import deploy_pipelines, prefect_client
from infra.pools import ensure_limits
from tasks.config import PipelineConfig
from tasks.errors import ConfigError, ServiceError
from tasks.settings import Settings

NIGHTLY = {"slug": "nightly", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}


@dataclass
class Trial:
    """A file with one pipeline of a name that no other test has, and a server to deploy it to."""

    client: Any
    settings: Settings
    block: dict[str, Any]

    def deploy(self, pool: str | None = None, **changes: Any) -> str:
        """Deploys the file, changed before; what was printed."""
        self.block.update(changes)
        self.settings.pipelines.write_text(yaml.safe_dump({"deployments": [self.block]}))
        out = io.StringIO()
        deploy_pipelines(self.settings, Console(file=out, width=300), pool=pool)
        return out.getvalue()

    @property
    def there(self) -> Any:
        return self.client.read_deployment_by_name(f"train/{self.block['name']}")

    def call(self, verb: str, place: str, body: Any = None) -> Any:
        """What the UI does: a plain request to the deployment."""
        return self.client.request(verb, f"/deployments/{self.there.id}{place}", json=body)

    def run(self, **parameters: Any) -> Any:
        """What Run does in the UI."""
        return self.call("POST", "/create_flow_run", {"parameters": parameters}).json()

    def everything(self) -> list[Any]:
        """All that the server has, but for the moments at which workers asked."""
        self.call("POST", "/schedule", {"max_runs": 3})
        places = ("deployments", "flow_runs", "work_pools", "automations", "v2/concurrency_limits")
        return [self.client.request("POST", f"/{place}/filter", json={}).json() for place in places]


@pytest.fixture
def trial(prefect_server: str, tmp_path: Path, kept_environment: None) -> Iterator[Trial]:
    name = f"trial-{uuid.uuid4().hex[:6]}"
    block = {
        "name": name,
        "description": "A trial",
        "entrypoint": "flows.training.train",
        "parameters": {
            "pipeline": name,
            "ingestion": {"dataset": "digits"},
            "training": {"epochs": 2, "learning_rate": 0.005},
        },
        "schedules": [NIGHTLY],
        "work_pool": {"name": "local"},
    }
    settings = Settings(
        ROUNDHOUSE_PREFECT_API_URL=prefect_server, pipelines=tmp_path / "p.yaml", home=tmp_path
    )
    with prefect_client(settings) as client:
        ensure_limits(client, settings)
        yield Trial(client, settings, block)


def test_a_second_deploy_changes_nothing_on_the_server(trial: Trial) -> None:
    first = trial.deploy()
    assert f"✓ {trial.block['name']}: deployed to work pool local" in first
    assert "02:00 Europe/Berlin" in first
    before = trial.everything()
    assert len(before[1]) >= 3
    second = trial.deploy()
    assert "✓" not in second
    assert "Nothing changed." in second
    assert trial.everything() == before


def test_what_was_done_to_schedules_in_the_ui_survives(trial: Trial) -> None:
    trial.deploy(schedules=[NIGHTLY, {"slug": "weekly", "cron": "0 3 * * 0"}])
    ids = {s.slug: s.id for s in trial.there.schedules}
    trial.call("PATCH", f"/schedules/{ids['nightly']}", {"active": False})
    trial.call("DELETE", f"/schedules/{ids['weekly']}")
    cron = {"cron": "0 9 * * 1-5", "timezone": "UTC", "day_or": True}
    trial.call("POST", "/schedules", [{"active": True, "schedule": cron}])
    trial.call("POST", "/pause_deployment")
    assert "weekly was deleted in the UI and stays deleted" in trial.deploy()
    assert {s.slug: (s.schedule.cron, s.active) for s in trial.there.schedules} == {
        "nightly": ("0 2 * * *", False),
        # the UI gives none
        "made-in-ui-1": ("0 9 * * 1-5", True),
    }
    before = trial.everything()
    trial.deploy()
    assert trial.everything() == before
    assert trial.there.paused


def test_a_schedule_changed_in_the_file_keeps_its_id_and_its_pause(trial: Trial) -> None:
    trial.deploy()
    (schedule,) = trial.there.schedules
    trial.call("PATCH", f"/schedules/{schedule.id}", {"active": False})
    said = trial.deploy(schedules=[{**NIGHTLY, "cron": "0 4 * * *"}, {**NIGHTLY, "slug": "two"}])
    assert "schedule two added, schedule nightly changed" in said
    assert "1 of 2 schedules paused" in said
    after = {s.slug: s for s in trial.there.schedules}
    assert after["nightly"].id == schedule.id
    assert (after["nightly"].schedule.cron, after["nightly"].active) == ("0 4 * * *", False)
    assert "schedule two removed" in trial.deploy(schedules=[{**NIGHTLY, "cron": "0 4 * * *"}])
    assert "Nothing changed." in trial.deploy()


def test_parameters_changed_in_the_ui_stay_until_the_file_changes_them(trial: Trial) -> None:
    trial.deploy()
    mine = trial.there.parameters | {"training": {"epochs": 7, "learning_rate": 0.005}}
    trial.call("PATCH", "", {"parameters": mine, "description": "Mine"})
    assert "description, parameters changed in the UI, and kept" in trial.deploy()
    parameters = dict(trial.block["parameters"])
    parameters["training"] = {"epochs": 2, "learning_rate": 0.01}
    assert "✓" in trial.deploy(parameters=parameters)
    assert trial.there.parameters["training"] == {"epochs": 7, "learning_rate": 0.01}
    assert trial.there.description == "Mine"


def test_parameters_of_the_ui_that_no_longer_fit_give_way(trial: Trial) -> None:
    trial.deploy()
    trial.call(
        "PATCH", "", {"parameters": {"model": {"dropout": 9}}, "enforce_parameter_schema": 0}
    )
    said = trial.deploy(description="Other")
    assert "parameters of the UI no longer fit the flow; those of the file are back" in said
    assert trial.there.parameters == trial.block["parameters"]


def test_another_pool_stays_until_another_is_named(trial: Trial) -> None:
    trial.deploy()
    said = trial.deploy(pool="elsewhere")
    assert f"✓ {trial.block['name']}: work pool elsewhere\n" in said
    assert "as before" not in said
    assert trial.there.work_pool_name == "elsewhere"
    said = trial.deploy()
    assert "Nothing changed." in said
    assert f"· {trial.block['name']}: work pool elsewhere, as before\n" in said
    assert trial.there.work_pool_name == "elsewhere"
    trial.deploy(work_pool={"name": "local", "work_queue_name": "fast"})
    assert (trial.there.work_pool_name, trial.there.work_queue_name) == ("elsewhere", "fast")
    said = trial.deploy(pool="local")
    assert "kept" not in said
    assert "as before" not in said
    assert trial.there.work_pool_name == "local"


def test_what_runs_on_a_cluster_leaves_it_by_name_alone(trial: Trial) -> None:
    plain, cluster = trial.settings, f"cluster-{trial.block['name']}"
    trial.client.create_work_pool(WorkPoolCreate(name=cluster, type=POOL_TYPE))
    # as --target kubernetes does, whose pool is the stack's own
    trial.settings = plain.model_copy(update={"pool": cluster})
    trial.deploy()
    trial.settings = plain
    before = trial.there
    with pytest.raises(ConfigError, match=f"pool {cluster}.* expected --target kubernetes"):
        trial.deploy()
    assert trial.there == before
    trial.deploy(pool="local")
    assert trial.there.work_pool_name == "local"


def test_signs_of_life_stay_as_often_as_the_server_expects_them(trial: Trial) -> None:
    asked = trial.settings
    trial.settings = asked.model_copy(update={"heartbeat_seconds": 45})
    trial.deploy()
    trial.settings = asked
    assert "Nothing changed." in trial.deploy()
    signs = trial.there.job_variables["env"]
    assert signs == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "45"}
    trial.settings = asked.model_copy(update={"heartbeat_seconds": 60})
    trial.deploy()


def test_a_limit_of_runs_comes_and_goes(trial: Trial) -> None:
    trial.deploy(concurrency_limit={"limit": 1, "collision_strategy": "CANCEL_NEW"})
    assert trial.there.global_concurrency_limit.limit == 1
    assert trial.there.concurrency_options.collision_strategy.value == "CANCEL_NEW"
    assert "Nothing changed." in trial.deploy()
    trial.deploy(concurrency_limit=2)
    assert trial.there.global_concurrency_limit.limit == 2
    del trial.block["concurrency_limit"]
    trial.deploy()
    assert trial.there.global_concurrency_limit is None
    assert "Nothing changed." in trial.deploy()


def test_run_takes_the_forms_values_and_the_flow_understands_them(trial: Trial) -> None:
    trial.deploy()
    form = trial.there.parameter_openapi_schema["properties"]
    filled = {key: field["default"] for key, field in form.items()}
    filled["training"]["epochs"] = 3
    parameters = trial.run(**filled)["parameters"]
    assert parameters["pipeline"] == trial.block["name"]
    stages = {k: v for k, v in parameters.items() if k not in ("force", "overlap")}
    assert PipelineConfig.model_validate(stages).training.epochs == 3
    assert trial.run()["parameters"] == trial.block["parameters"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"training": {"epochs": 0, "learning_rate": 0.005}},
        {"training": {"epochs": "3", "learning_rate": 0.005}},
        {"training": {"epochs": 3}},
        {"training": {"epochs": 3, "learning_rate": 0.005, "epoch": 3}},
        {"trainin": {}},
        {"pipeline": "digits"},
        {"ingestion": {"dataset": "mnist"}},
        {"force": "yes"},
        {"overlap": "both"},
    ],
)
def test_a_wrong_value_is_refused_before_a_run_exists(trial: Trial, wrong: dict[str, Any]) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    trial.deploy(schedules=[])
    with pytest.raises(PrefectHTTPStatusError) as refused:
        trial.run(**wrong)
    assert refused.value.response.status_code == 409
    query = {"deployments": {"id": {"any_": [str(trial.there.id)]}}}
    assert trial.client.request("POST", "/flow_runs/filter", json=query).json() == []


def test_plain_prefect_deploy_works_on_the_file_and_before_ours(
    trial: Trial, prefect_server: str
) -> None:
    trial.deploy(schedules=[NIGHTLY])
    command = ("--no-prompt", "deploy", "--all", "--prefect-file", str(trial.settings.pipelines))
    trial.settings.pipelines.write_text(
        yaml.safe_dump({"name": "trial", "pull": [], "deployments": [trial.block]})
    )
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *command],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [s.slug for s in trial.there.schedules] == ["nightly"]
    assert "form" in trial.deploy()
    assert "Nothing changed." in trial.deploy()
    assert trial.there.parameter_openapi_schema["additionalProperties"] is False


@pytest.fixture(scope="session")
def deploy_command(roundhouse_at: Callable[..., Any], tmp_path_factory: Any) -> Any:
    return roundhouse_at(tmp_path_factory.mktemp("deploy") / "home")


def test_without_a_server_the_command_says_what_to_start(deploy_command: Any) -> None:
    done = deploy_command("deploy")
    assert done.returncode == 1
    assert "No Prefect server is running here. Start `roundhouse up`, or set" in done.stderr


def test_a_server_that_does_not_answer_is_named(kept_environment: None) -> None:
    with (
        pytest.raises(ServiceError, match=r"No Prefect server answers at http://127.0.0.1:9/api"),
        prefect_client(Settings(ROUNDHOUSE_PREFECT_API_URL="http://127.0.0.1:9/api")) as client,
    ):
        client.read_work_pool("local")


def test_an_unknown_name_suggests_the_nearest(deploy_command: Any, prefect_server: str) -> None:
    done = deploy_command("deploy", "digit", ROUNDHOUSE_PREFECT_API_URL=prefect_server)
    assert done.returncode == 1
    assert "Unknown pipeline 'digit'. Did you mean 'digits'?" in done.stderr


def test_a_bad_block_stops_the_deploy_before_anything_is_sent(trial: Trial) -> None:
    with pytest.raises(ConfigError, match="has no slug"):
        trial.deploy(schedules=[{"cron": "0 2 * * *"}])
    from prefect.exceptions import ObjectNotFound

    with pytest.raises(ObjectNotFound):
        _ = trial.there
