"""The servers of a team in infra/compose.yaml: pinned, watched, closed, and without a secret."""

import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "infra" / "compose.yaml"
CONTENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, Any] = CONTENT["services"]
EXACT = re.compile(r"^[\w./-]+:v?\d+\.\d+(\.\d+)?[\w.-]*$")
READ = re.compile(r"/run/secrets/(\w+)")

every_service = pytest.mark.parametrize("name", SERVICES)


def scripts(service: dict[str, Any]) -> list[str]:
    """What a service has a shell run."""
    started = service.get("entrypoint") or service.get("command") or []
    return [part.replace("$$", "$") for part in started if "\n" in part]


@every_service
def test_images_are_pinned_to_a_version(name: str) -> None:
    assert EXACT.match(SERVICES[name]["image"])
    assert "latest" not in SERVICES[name]["image"]


def test_the_servers_are_of_the_versions_that_the_clients_have() -> None:
    prefect, mlflow = metadata.version("prefect"), metadata.version("mlflow")
    assert SERVICES["prefect"]["image"].startswith(f"prefecthq/prefect:{prefect}-")
    assert SERVICES["prefect-services"]["image"] == SERVICES["prefect"]["image"]
    assert SERVICES["mlflow"]["image"] == f"ghcr.io/mlflow/mlflow:v{mlflow}-full"


@every_service
def test_each_says_how_it_is_and_comes_back(name: str) -> None:
    health = SERVICES[name]["healthcheck"]
    assert health["test"][0] in ("CMD", "CMD-SHELL")
    assert health["retries"] >= 3
    assert SERVICES[name]["restart"] == "unless-stopped"
    for other, needed in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert needed == {"condition": "service_healthy"}


@every_service
def test_only_this_machine_reaches_them(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:")
    assert SERVICES[name].get("network_mode") is None


@every_service
def test_secrets_come_from_files_alone(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        is_file = variable.endswith("_FILE") and value.startswith("/run/secrets/")
        assert is_file or not re.search("PASSWORD|SECRET|AUTH_STRING|TOKEN", variable), variable
        assert "@" not in str(value)
    read = set(READ.findall(str(service)))
    assert read == set(service.get("secrets", ()))
    assert read <= set(CONTENT["secrets"])
    for script in scripts(service):
        # what a program is given on its command line, everyone on the machine can see
        started = [line for line in script.splitlines() if line.strip().startswith("exec")]
        assert not any("secrets" in line for line in started)


def test_every_secret_is_a_file_outside_the_repository() -> None:
    ignored = (COMPOSE.parents[1] / ".gitignore").read_text().split()
    for secret in CONTENT["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "infra/secrets/" in ignored


@every_service
def test_what_lasts_is_on_volumes(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        assert volume.partition(":")[0] in CONTENT["volumes"]
    for config in SERVICES[name].get("configs", ()):
        assert config["source"] in CONTENT["configs"]


@every_service
def test_its_scripts_are_sound(name: str) -> None:
    for script in scripts(SERVICES[name]):
        assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0


def test_prefect_knows_every_setting() -> None:
    """One that was renamed would be ignored without a word."""
    import prefect.settings
    from prefect_redis.cleanup_queue import RedisWorkerCleanupQueueSettings
    from prefect_redis.client import RedisMessagingSettings

    for name in ("prefect", "prefect-services"):
        written = set(re.findall(r"\bPREFECT_[A-Z_]+\b", str(SERVICES[name])))
        known = {
            variable
            for variable in written
            if hasattr(prefect.settings, variable)
            or variable in ("PREFECT_REDIS_MESSAGING_URL", "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL")
        }
        assert written
        assert written - known == set()
    assert "url" in RedisMessagingSettings.model_fields
    assert "url" in RedisWorkerCleanupQueueSettings.model_fields


def test_the_pages_at_its_address_are_those_that_call_nobody_else() -> None:
    environment = SERVICES["prefect"]["environment"]
    assert environment["PREFECT_SERVER_UI_V2_ENABLED"] == "false"
    assert "/v2" not in environment["PREFECT_UI_URL"]
