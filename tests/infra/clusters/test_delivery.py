"""`roundhouse deploy --target kubernetes`, on a real Prefect server."""

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from infra.clusters.delivery import deploy_to_cluster
from infra.deployment import deploy_pipelines, prefect_client
from tasks.errors import ConfigError
from tasks.settings import Settings
from tests.infra.clusters.stand_in_cluster import (
    NODES,
    SECRETS,
    SETTINGS,
    StandInCluster,
    served,
)

IMAGE = "127.0.0.1:9/roundhouse:1.2.3"


@dataclass
class Trial:
    """A file with one pipeline, a server to deploy it to, and a cluster that it is to run on."""

    client: Any
    cluster: StandInCluster
    block: dict[str, Any]
    path: Path
    pool: str
    api: str

    @property
    def settings(self) -> Settings:
        given: Any = {"ROUNDHOUSE_PREFECT_API_URL": self.api, "pipelines": self.path}
        return Settings(**given, image=IMAGE, pool=self.pool)

    def deploy(self, image: str = IMAGE, dry_run: bool = False, **changes: Any) -> str:
        """Deploys the file, changed before; what was printed."""
        self.block.update(changes)
        self.path.write_text(yaml.safe_dump({"deployments": [self.block]}))
        self.out = io.StringIO()
        settings = self.settings.model_copy(update={"image": image})
        deploy_to_cluster(settings, Console(file=self.out, width=400), dry_run=dry_run)
        return self.out.getvalue()

    @property
    def there(self) -> Any:
        return self.client.read_deployment_by_name(f"train/{self.block['name']}")

    @property
    def template(self) -> Any:
        return self.client.read_work_pool(self.pool).base_job_template


@pytest.fixture
def trial(
    prefect_server: str, tmp_path: Path, kept_environment: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Trial]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    name = f"trial-{uuid.uuid4().hex[:6]}"
    block = {
        "name": name,
        "entrypoint": "flows.training.train",
        "parameters": {"pipeline": name, "ingestion": {"dataset": "xor"}},
        "schedules": [{"slug": "nightly", "cron": "0 2 * * *", "timezone": "UTC"}],
        "work_pool": {"name": "local"},
    }
    cluster = StandInCluster()
    settings: Any = {"ROUNDHOUSE_PREFECT_API_URL": prefect_server}
    with (
        served(cluster, tmp_path / "kubeconfig"),
        prefect_client(Settings(**settings)) as client,
    ):
        yield Trial(client, cluster, block, tmp_path / "prefect.yaml", f"k-{name}", prefect_server)
        for pool in client.read_work_pools():
            if pool.name == f"k-{name}":
                client.delete_work_pool(pool.name)


def test_a_pool_for_jobs_is_made_and_a_second_time_nothing_changes(trial: Trial) -> None:
    said = trial.deploy(resources={"profile": "gpu", "memory": "24Gi"})
    assert f"work pool {trial.pool}: made, for Jobs of {IMAGE} in roundhouse" in said
    assert "Applied." in said
    pool = trial.client.read_work_pool(trial.pool)
    assert pool.type == "kubernetes"
    assert trial.there.work_pool_name == trial.pool
    variables = trial.there.job_variables
    assert (variables["memory_limit"], variables["gpus"]) == ("24Gi", 1)
    assert variables["image"] == f"{IMAGE}-gpu"
    assert variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    before = trial.template, trial.there.updated
    again = trial.deploy()
    assert "Nothing changed." in again
    assert "Applied." not in again
    assert (trial.template, trial.there.updated) == before


def test_a_dry_run_shows_each_value_and_changes_none(trial: Trial) -> None:
    assert "Nothing was applied." in trial.deploy(dry_run=True)
    assert trial.pool not in [pool.name for pool in trial.client.read_work_pools()]
    trial.deploy(resources={"memory": "8Gi"})
    newer = IMAGE.replace("1.2.3", "1.2.4")
    said = trial.deploy(newer, dry_run=True, resources={"memory": "6Gi"})
    assert f"variables.properties.image.default: {newer} instead of {IMAGE}" in said
    assert "job variables memory_limit: 6Gi instead of 8Gi" in said
    assert trial.there.job_variables["memory_limit"] == "8Gi"
    trial.deploy(newer)
    assert trial.template["variables"]["properties"]["image"]["default"] == newer
    assert trial.there.job_variables["memory_limit"] == "6Gi"


def test_what_somebody_changed_in_the_ui_stays_beside_what_the_file_changed(trial: Trial) -> None:
    from prefect.client.schemas.actions import WorkPoolUpdate

    trial.deploy()
    template = trial.template
    template["variables"]["properties"]["priority_class_name"]["default"] = "batch"
    trial.client.update_work_pool(trial.pool, WorkPoolUpdate(base_job_template=template))
    newer = IMAGE.replace("1.2.3", "1.2.4")
    said = trial.deploy(newer)
    assert "changed in the UI, and kept: variables.properties.priority_class_name.default" in said
    properties = trial.template["variables"]["properties"]
    assert properties["priority_class_name"]["default"] == "batch"
    assert properties["image"]["default"] == newer
    assert "Nothing changed." in trial.deploy(newer)


def test_a_pool_of_prefects_own_worker_gets_our_template_and_a_strangers_is_left(
    trial: Trial,
) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect_kubernetes.worker import KubernetesWorker

    theirs = KubernetesWorker.get_default_base_job_template()
    trial.client.create_work_pool(
        WorkPoolCreate(name=trial.pool, type="kubernetes", base_job_template=theirs)
    )
    assert "our job template instead of Prefect's own" in trial.deploy()
    theirs["variables"]["properties"]["image"]["default"] = "registry.example.org/other:1"
    trial.client.update_work_pool(trial.pool, WorkPoolUpdate(base_job_template=theirs))
    with pytest.raises(
        ConfigError, match=r"a job template that somebody else made.*ROUNDHOUSE_POOL"
    ):
        trial.deploy()


def test_a_pool_for_processes_is_none_for_jobs(trial: Trial) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    trial.client.create_work_pool(WorkPoolCreate(name=trial.pool, type="process"))
    with pytest.raises(ConfigError, match=r"is of type 'process'; expected 'kubernetes'"):
        trial.deploy()


def test_for_processes_resources_change_nothing_but_a_word(trial: Trial) -> None:
    trial.path.write_text(
        yaml.safe_dump({"deployments": [{**trial.block, "resources": {"profile": "gpu"}}]})
    )
    out = io.StringIO()
    deploy_pipelines(trial.settings, Console(file=out, width=300))
    assert f"{trial.block['name']}: resources are for a pool on Kubernetes" in out.getvalue()
    assert "gpus" not in trial.there.job_variables
    assert trial.client.read_work_pool(trial.pool).type == "process"


def test_processes_do_not_train_over_several_nodes(trial: Trial) -> None:
    resources = {"training": {"profile": "gpu", "nodes": 4}}
    trial.path.write_text(
        yaml.safe_dump({"deployments": [{**trial.block, "resources": resources}]})
    )
    with pytest.raises(ConfigError, match=r"ask for 4 nodes .* expected a pool of a cluster"):
        deploy_pipelines(trial.settings, Console(file=io.StringIO()))


def test_what_is_not_fit_is_said_and_nothing_is_applied(trial: Trial) -> None:
    trial.cluster.objects[SETTINGS]["data"].pop("ROUNDHOUSE_STORAGE")
    with pytest.raises(ConfigError, match=r"1 to mend on the cluster .* nothing was applied"):
        trial.deploy()
    assert "ROUNDHOUSE_STORAGE is not set, so each pod would keep its own" in trial.out.getvalue()
    assert trial.pool not in [pool.name for pool in trial.client.read_work_pools()]


def test_what_cannot_be_seen_is_said_and_stops_nothing(trial: Trial) -> None:
    trial.cluster.forbidden |= {NODES, SECRETS}
    said = trial.deploy()
    assert f"nodes: not looked at: {NODES} is forbidden" in said
    assert "secrets: not looked at" in said
    assert "whether it is there was not seen" in said
    assert "Applied." in said


def test_a_password_in_a_block_is_refused_before_anything_is_looked_at(trial: Trial) -> None:
    shown = {"job_variables": {"env": {"AWS_SECRET_ACCESS_KEY": "planted-key"}}}
    with pytest.raises(ConfigError, match="have AWS_SECRET_ACCESS_KEY in clear") as error:
        trial.deploy(work_pool=shown)
    assert "planted" not in str(error.value)
    assert trial.cluster.asked == []


@pytest.mark.parametrize(
    ("image", "said"),
    [("", "ROUNDHOUSE_IMAGE is not set"), ("r.example.org/a:latest", "can be another tomorrow")],
)
def test_an_image_that_can_be_another_tomorrow_is_refused_before_anything_is_looked_at(
    trial: Trial, image: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        trial.deploy(image)
    assert trial.cluster.asked == []
