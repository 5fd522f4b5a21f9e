"""Runs as Jobs of a cluster: from the pages to a champion, and what goes wrong on the way."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.api import eventually
from tests.cluster.clicking import BROWSER, click_run
from tests.cluster.conftest import new_namespace
from tests.cluster.deployed import PASSWORD, POOL, RESTRICTED, Deployed, prepare, worker
from tests.infra.conftest import STORE_KEY, free_port, running

pytestmark = pytest.mark.cluster
LONG = {"epochs": 1000, "patience": 0}


@pytest.fixture(scope="module")
def store(cluster: Any) -> Iterator[dict[str, str]]:
    """The variables with which all find a private S3 that holds the bucket `models`."""
    import boto3

    if not cluster.host:
        pytest.skip("needs ROUNDHOUSE_TEST_HOST: how pods reach the servers of this machine")
    port = free_port()
    keys = {"AWS_ACCESS_KEY_ID": "roundhouse", "AWS_SECRET_ACCESS_KEY": STORE_KEY}
    place = {
        "AWS_ENDPOINT_URL": f"http://{cluster.host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", str(port)]
    with running(command, port):
        options = {name.lower(): value for name, value in keys.items()}
        client = boto3.client(
            "s3", endpoint_url=place["AWS_ENDPOINT_URL"], region_name="us-east-1", **options
        )
        client.create_bucket(Bucket="models")
        yield {**keys, **place}


@pytest.fixture(scope="module")
def deployed(
    cluster: Any,
    store: dict[str, str],
    stack_at: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployed]:
    """Servers of this machine, a namespace as our manifests make it, and our worker."""
    folder = tmp_path_factory.mktemp("deployed")
    listening = {"ROUNDHOUSE_HOST": "0.0.0.0"}
    kept = {
        "ROUNDHOUSE_ARTIFACTS": "s3://models/artifacts",
        "ROUNDHOUSE_STORAGE": "s3://models/storage",
    }
    allowed = {"ROUNDHOUSE_PASSWORD": PASSWORD, "ROUNDHOUSE_ALLOWED_HOSTS": cluster.host}
    stack = stack_at(folder / "home", **kept, **listening, **allowed, **store)
    prefect, mlflow = (
        at.replace("127.0.0.1", cluster.host) for at in (stack.prefect, stack.mlflow)
    )
    secret = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    secrets = {"ROUNDHOUSE_PASSWORD": PASSWORD, **{name: store[name] for name in secret}}
    with new_namespace(cluster.api, **RESTRICTED) as namespace:
        settings = {
            **kept,
            "ROUNDHOUSE_PREFECT_API_URL": f"{prefect}/api",
            "PREFECT_API_URL": f"{prefect}/api",
            "ROUNDHOUSE_TRACKING_URI": mlflow,
            "ROUNDHOUSE_NAMESPACE": namespace,
            "ROUNDHOUSE_IMAGE": cluster.image,
            "ROUNDHOUSE_POOL": POOL,
            "ROUNDHOUSE_USER": "admin",
            **{name: value for name, value in store.items() if name not in secret},
        }
        prepare(cluster.api, namespace, settings, secrets)
        # who deploys is at another machine, which has a kubeconfig and these two settings
        stack.command.environment |= {
            "KUBECONFIG": str(cluster.kubeconfig),
            **{k: settings[k] for k in ("ROUNDHOUSE_IMAGE", "ROUNDHOUSE_NAMESPACE")},
        }
        done = stack.command("deploy", "digits", "--target", "kubernetes")
        assert done.returncode == 0, done.stdout + done.stderr
        login = cluster.kubeconfig_of("roundhouse-worker", namespace)
        with worker(login, {**settings, **secrets}, folder / "worker.log") as process:
            yield Deployed(cluster.api, namespace, stack, folder / "worker.log", process)


@pytest.fixture(scope="module")
def first(deployed: Deployed) -> Any:
    """The first run of digits, by a click on Run, when it has ended."""
    if BROWSER is None:
        return deployed.stack.ended(deployed.trigger())
    return deployed.stack.ended(click_run(deployed.stack, "digits", "admin", PASSWORD))


def test_digits_runs_as_a_job_and_lands_a_champion(deployed: Deployed, first: Any) -> None:
    said = f"{first['state']} {deployed.logs(first['id'])} {deployed.worker_says()}"
    assert first["state_type"] == "COMPLETED", said
    (job,) = deployed.jobs(first["id"])
    eventually(
        lambda: deployed.api.read("jobs", job["metadata"]["name"], deployed.namespace)[
            "status"
        ].get("succeeded")
    )
    status = deployed.stack.command("status")
    assert re.search(r"digits +v1 +accuracy 0\.9", status.stdout), status.stdout + status.stderr


def test_no_secret_stands_in_a_job(deployed: Deployed, first: Any) -> None:
    (job,) = deployed.jobs(first["id"])
    assert "planted" not in json.dumps(job)
    assert "planted" not in deployed.worker_says() + deployed.logs(first["id"])


def test_a_cancelled_run_ends_and_its_pod_is_gone_within_a_minute(deployed: Deployed) -> None:
    run = deployed.trigger(force=True, training=LONG)
    deployed.trains(run)
    since = time.monotonic()
    deployed.stack.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    eventually(lambda: not deployed.pods(run, "Running"), 60, "the end of the pod")
    ended = deployed.stack.ended(run, 60)
    assert (ended["state_type"], time.monotonic() - since < 60) == ("CANCELLED", True)


def test_a_run_whose_pod_is_deleted_goes_on_in_another(deployed: Deployed) -> None:
    run = deployed.trigger(training={"epochs": 40, "patience": 0})
    pod = deployed.trains(run)
    eventually(lambda: "epoch 5 of 40" in deployed.logs(run), what="the fifth epoch")
    deployed.api.delete("pods", pod["metadata"]["name"], deployed.namespace)
    ended = deployed.stack.ended(run)
    log = deployed.logs(run)
    assert ended["state_type"] == "COMPLETED", log
    assert "AwaitingRetry" in deployed.stack.states(run)
    assert "The pod of this run was deleted on" in log
    assert "prepare_data reused" in log
    assert log.count("epoch 5 of 40") == 1
    assert len(deployed.jobs(run)) == 2


def test_a_run_over_its_deadline_fails_with_a_sentence(deployed: Deployed) -> None:
    run = deployed.trigger(force=True, training=LONG)
    deployed.trains(run)
    (job,) = deployed.jobs(run)
    # the form asks for five minutes at least; the cluster takes what is left of them away
    change = {"spec": {"activeDeadlineSeconds": 1}}
    deployed.api.patch("jobs", job["metadata"]["name"], change, deployed.namespace)
    ended = deployed.stack.ended(run, 90)
    assert ended["state_type"] == "FAILED", deployed.message(run)
    assert deployed.message(run).startswith("The run took longer than the 1 s that it may")
    eventually(lambda: not deployed.pods(run))


def test_a_permission_that_is_missing_is_named_in_the_runs_state(deployed: Deployed) -> None:
    name, namespace = "roundhouse-worker", deployed.namespace
    role = deployed.api.read("roles", name, namespace)
    rules = [rule for rule in role["rules"] if "jobs" not in rule["resources"]]
    deployed.api.patch("roles", name, {"rules": rules}, namespace)
    try:
        run = deployed.trigger(force=True)
        ended = deployed.stack.ended(run, 90)
        assert ended["state_type"] == "CRASHED"
        assert "cannot create resource" in deployed.message(run)
        assert f"{namespace}:roundhouse-worker" in deployed.message(run)
    finally:
        deployed.api.patch("roles", name, {"rules": role["rules"]}, namespace)


def test_a_worker_that_is_killed_and_started_again_leaves_its_runs_at_work(
    deployed: Deployed,
) -> None:
    run = deployed.trigger(force=True, training={"epochs": 100, "patience": 0})
    pod = deployed.trains(run)
    deployed.worker.kill()
    try:
        # nobody watches meanwhile that the pod is lost
        deployed.api.delete("pods", pod["metadata"]["name"], deployed.namespace)
        eventually(lambda: not deployed.pods(run, "Running"), what="the end of the pod")
    finally:
        deployed.worker.start()
    ended = deployed.stack.ended(run)
    assert ended["state_type"] == "COMPLETED", deployed.logs(run) + deployed.worker_says()
    assert "AwaitingRetry" in deployed.stack.states(run)
    assert "prepare_data reused" in deployed.logs(run)


def test_a_run_outlives_a_minute_without_prefect(deployed: Deployed) -> None:
    run = deployed.trigger(force=True, training={"epochs": 400, "patience": 0})
    deployed.trains(run)
    server = deployed.stack.part("Prefect")
    server.suspend()
    time.sleep(60)
    server.resume()
    ended = deployed.stack.ended(run)
    said = f"{deployed.message(run)} {deployed.logs(run)[-3000:]} {deployed.worker_says()}"
    assert ended["state_type"] == "COMPLETED", said
