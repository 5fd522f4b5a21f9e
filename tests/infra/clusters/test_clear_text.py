"""No secret stands in a Job, whatever a block or a custom run sets."""

import json
from typing import Any

import pytest

from infra.clusters.clear_text import (
    require_apart_from_servers,
    require_hidden,
    shown_secrets,
    without_secrets,
)
from tasks.errors import ConfigError

OWN = {"PREFECT_API_AUTH_STRING": "admin:planted", "PREFECT_CLIENT_CUSTOM_HEADERS": '{"A":"b"}'}


def manifest(*variables: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "prefect-job", "env": list(variables)}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def variables_of(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container["env"]}


def test_what_prefect_adds_of_the_workers_own_is_by_reference_or_not_there() -> None:
    job = manifest(
        {"name": "PREFECT_API_URL", "value": "http://prefect:4200/api"},
        {"name": "PREFECT_API_AUTH_STRING", "value": "admin:planted"},
        {"name": "PREFECT_CLIENT_CUSTOM_HEADERS", "value": '{"A": "planted"}'},
        {"name": "PREFECT_API_KEY", "value": ""},
    )
    without_secrets(job, OWN)
    assert variables_of(job) == {
        "PREFECT_API_URL": "http://prefect:4200/api",
        "PREFECT_API_AUTH_STRING": "$(ROUNDHOUSE_USER):$(ROUNDHOUSE_PASSWORD)",
        "PREFECT_API_KEY": "",
    }
    assert "planted" not in json.dumps(job)


def test_a_reference_stays() -> None:
    own = {"secretKeyRef": {"name": "mine", "key": "token"}}
    job = manifest(
        {"name": "HUB_TOKEN", "valueFrom": own},
        {"name": "FEED_PASSWORD", "value": "$(ROUNDHOUSE_PASSWORD)"},
    )
    without_secrets(job, {})
    assert variables_of(job) == {"HUB_TOKEN": own, "FEED_PASSWORD": "$(ROUNDHOUSE_PASSWORD)"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "planted"),
        ("AWS_ACCESS_KEY_ID", "planted"),
        ("ROUNDHOUSE_STORAGE_KEY", "planted"),
        ("MLFLOW_TRACKING_PASSWORD", "planted"),
        ("hub_token", "planted"),
        ("HTTPS_PROXY", "http://me:planted@proxy:3128"),
    ],
)
def test_somebody_elses_secret_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as error:
        without_secrets(manifest({"name": name, "value": value}), {})
    assert f"of this run have {name} in clear" in str(error.value)
    assert "roundhouse-secrets" in str(error.value)
    assert "planted" not in str(error.value)


def test_what_is_no_secret_is_left() -> None:
    plain = {
        "TOKENIZERS_PARALLELISM": "false",
        "KERAS_BACKEND": "jax",
        "PREFECT_UI_URL": "https://prefect.example.org/?a=b",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    assert shown_secrets(plain) == []
    require_hidden(plain, "digits")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("envFrom", {"secretRef": {"name": "roundhouse-servers"}}),
        ("env", {"name": "X", "valueFrom": {"secretKeyRef": {"name": "roundhouse-servers"}}}),
        ("volumes", {"name": "work", "secret": {"secretName": "roundhouse-servers"}}),
        ("volumes", {"name": "work", "persistentVolumeClaim": {"claimName": "data-postgres-0"}}),
        ("volumes", {"name": "work", "ephemeral": {"dataSource": {"name": "data-postgres-0"}}}),
        ("volumes", {"name": "x", "projected": {"sources": [{"serviceAccountToken": {}}]}}),
    ],
)
def test_what_is_the_servers_is_given_to_no_run(where: str, what: dict[str, Any]) -> None:
    job = manifest()
    pod = job["spec"]["template"]["spec"]
    (pod if where == "volumes" else pod["containers"][0])[where] = [what]
    with pytest.raises(ConfigError, match="which belongs to the servers"):
        require_apart_from_servers(job)


def test_a_run_has_no_account_of_the_servers() -> None:
    job = manifest()
    job["spec"]["template"]["spec"]["serviceAccountName"] = "roundhouse-worker"
    with pytest.raises(ConfigError, match="expected roundhouse-run"):
        require_apart_from_servers(job)


def test_what_is_the_runs_own_is_theirs() -> None:
    job = manifest()
    pod = job["spec"]["template"]["spec"]
    pod["containers"][0]["envFrom"] = [{"secretRef": {"name": "roundhouse-secrets"}}]
    pod["volumes"] = [{"name": "work", "persistentVolumeClaim": {"claimName": "my-data"}}]
    require_apart_from_servers(job)
