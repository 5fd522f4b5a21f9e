"""The worker's process in a cluster: what it needs, and what it does to a Job."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.clusters.worker import PERMISSIONS, SIGTERM_BEHAVIOUR, claimed, variables, watched
from tasks.errors import ConfigError
from tasks.settings import Settings


def test_the_observer_sees_our_namespace_and_pods_only() -> None:
    found = variables(Settings(prefect_api_url="http://prefect:4200/api", namespace="teams"))
    assert found["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert found["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == "teams"
    manifest = {"spec": {"backoffLimit": 0, "template": {"spec": {"containers": [{}]}}}}
    watched(manifest)
    name, _, value = found[
        "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ADDITIONAL_LABEL_FILTERS"
    ].partition("=")
    assert manifest["spec"]["template"]["metadata"]["labels"] == {name: value}  # type: ignore[index]
    assert "metadata" not in manifest


def test_a_worker_that_knows_no_server_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="ROUNDHOUSE_PREFECT_API_URL is not set"):
        variables(Settings())


@pytest.mark.parametrize(("limit", "behaviour"), [(0, "relinquish"), (2, "reschedule")])
def test_a_pod_that_is_told_to_end_leaves_the_word_to_the_watch(limit: int, behaviour: str) -> None:
    env = [{"name": SIGTERM_BEHAVIOUR, "value": "reschedule"}, {"name": "OTHER", "value": "x"}]
    containers = [{"name": "prefect-job", "env": env}]
    watched({"spec": {"backoffLimit": limit, "template": {"spec": {"containers": containers}}}})
    assert env == [{"name": SIGTERM_BEHAVIOUR, "value": behaviour}, {"name": "OTHER", "value": "x"}]


@pytest.mark.parametrize(("claim", "kind"), [("models", "persistentVolumeClaim"), ("", "emptyDir")])
def test_a_claim_named_in_the_form_is_instead_of_the_nodes_disk(claim: str, kind: str) -> None:
    both = {"name": "work", "emptyDir": {"sizeLimit": "20Gi"},
            "persistentVolumeClaim": {"claimName": claim}}  # fmt: skip
    manifest = {"spec": {"template": {"spec": {"volumes": [both]}}}}
    claimed(manifest)
    assert both.keys() == {"name", kind}


def test_it_needs_nothing_but_jobs_pods_their_logs_and_events() -> None:
    assert {resource for _, resource in PERMISSIONS} == {"jobs", "pods", "pods/log", "events"}


def test_without_a_cluster_it_says_what_it_looked_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.clusters.worker"],
        env={
            **os.environ,
            "KUBECONFIG": str(tmp_path / "none"),
            "ROUNDHOUSE_HOME": str(tmp_path),
            "ROUNDHOUSE_PREFECT_API_URL": "http://127.0.0.1:9/api",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "No cluster is known" in done.stderr
    assert "Traceback" not in done.stderr
