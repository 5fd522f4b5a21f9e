"""Where runs in pods of their own may read and write."""

from typing import Any

import pytest

from infra.clusters.places import require_shared, require_shared_in
from tasks.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("ROUNDHOUSE_STORAGE", "/home/roundhouse/store", "is gone with it.*such as s3://models"),
        ("ROUNDHOUSE_ARTIFACTS", "", "not set, so each pod"),
        ("ROUNDHOUSE_TRACKING_URI", "sqlite:////tmp/m.db", "pod's own disk.*http://mlflow:5000"),
        ("ROUNDHOUSE_PREFECT_API_URL", "http://localhost:4200/api", "means a pod itself"),
    ],
)
def test_no_run_keeps_what_it_makes_to_its_pod(name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"variables of digits: {name} is.*{why}"):
        require_shared({"KERAS_BACKEND": "jax", name: value}, "digits")
    with pytest.raises(ConfigError, match="variables of this run"):
        require_shared_in(manifest({"name": name, "value": value}))


def test_what_pods_share_is_left() -> None:
    shared = {
        "ROUNDHOUSE_STORAGE": "s3://others/storage",
        "ROUNDHOUSE_ARTIFACTS": "$(BUCKET)/artifacts",
        "ROUNDHOUSE_TRACKING_URI": "https://mlflow.example.org",
    }
    require_shared(shared, "digits")
    require_shared({}, "digits")
    variables = [{"name": name, "value": value} for name, value in shared.items()]
    require_shared_in(manifest(*variables, {"name": "X", "valueFrom": {"fieldRef": {}}}))


def manifest(*variables: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"env": list(variables)}]}}}}
