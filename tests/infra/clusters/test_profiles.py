"""What a block asks for, and the file that says what it means."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.clusters.profiles import (
    TRAINING_VARIABLE,
    load_profiles,
    profiles_file,
    read_resources,
    resource_variables,
)
from tasks.errors import ConfigError
from tasks.settings import Settings

SETTINGS = Settings(image="registry.example.org/roundhouse:1.2.3")


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """Settings whose pipelines have a file of profiles beside them: (content) -> Settings."""

    def write(content: object) -> Settings:
        path = tmp_path / "kubernetes" / "profiles.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return Settings(pipelines=tmp_path / "prefect.yaml", image=SETTINGS.image)

    return write


def variables(resources: dict[str, Any] | None, settings: Settings = SETTINGS) -> dict[str, Any]:
    read = read_resources(resources, "digits")
    return resource_variables(read, load_profiles(settings), settings, "digits")


def test_a_block_that_says_nothing_changes_nothing() -> None:
    assert variables(None) == {}


def test_what_a_block_says_is_instead_of_its_profile() -> None:
    found = variables({"profile": "gpu", "memory": "32G", "cpu": 6})
    assert (found["memory_request"], found["memory_limit"]) == ("32G", "32G")
    assert (found["cpu_request"], found["gpus"]) == ("6", 1)


def test_a_training_of_its_own_has_what_its_block_says_of_runs() -> None:
    given = {
        "env": {"KERAS_BACKEND": "jax"}, "service_account_name": "trainer",
        "image": "registry.example.org/own:2.0.0", "memory_limit": "1Gi",
    }  # fmt: skip
    for profile, image in (("cpu", given["image"]), ("gpu", f"{SETTINGS.image}-gpu")):
        read = read_resources({"training": {"profile": profile}}, "digits")
        found = resource_variables(read, load_profiles(SETTINGS), SETTINGS, "digits", given)
        training = json.loads(found["env"][TRAINING_VARIABLE])
        assert training["env"] == {"KERAS_BACKEND": "jax"}
        assert training["service_account_name"] == "trainer"
        assert training["image"] == image
        assert training["memory_limit"] != "1Gi"


def test_a_training_of_its_own_is_said_to_its_flow() -> None:
    found = variables({"memory": "2Gi", "training": {"profile": "gpu", "memory": "32Gi"}})
    assert (found["memory_request"], "gpus" in found) == ("2Gi", False)
    training = json.loads(found["env"][TRAINING_VARIABLE])
    assert (training["memory_request"], training["gpus"]) == ("32Gi", 1)
    assert training["image"].endswith(":1.2.3-gpu")


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (
            {"profile": "gup"},
            "Unknown profile 'gup' in the resources of digits. Did you mean 'gpu'",
        ),
        ({"memroy": "16Gi"}, "Unknown key 'memroy'. Did you mean 'memory'"),
        ({"memory": "16GB"}, "Received memory='16GB'; expected 64Mi to 1Pi, such as 16Gi"),
        ({"memory": "400m"}, "Received memory='400m'"),
        ({"memory": -1}, "Received memory=-1"),
        ({"cpu": "0"}, "Received cpu='0'; expected CPUs from 50m to 1024"),
        ({"cpu": True}, "Received cpu=True"),
        (
            {"gpus": 1},
            "ask for GPUs of the profile 'cpu', which has none; expected one that has: gpu",
        ),
        ({"gpus": 0}, "Received gpus=0"),
        ({"training": {"profile": "gpu", "training": {}}}, "Unknown key 'training.training'"),
        ({"training": {"profile": "tpu"}}, "Unknown profile 'tpu'"),
        ("gpu", "has the resources 'gpu'; expected such as {profile: gpu"),
    ],
)
def test_what_cannot_be_is_said(resources: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        variables(resources)
    assert said in str(error.value)


@pytest.mark.parametrize("amount", ["16G", "16Gi", "512Mi", "1.5Gi", "2e9", "17179869184"])
def test_amounts_are_taken_as_kubernetes_takes_them(amount: str) -> None:
    assert variables({"memory": amount})["memory_limit"] == amount


def test_a_team_names_its_nodes_once_and_no_block_changes(own: Any) -> None:
    settings = own(
        {
            "accelerator": {"resource": "amd.com/gpu", "type_label": "amd.com/gpu.product-name"},
            "profiles": {
                "cpu": {"memory": "2Gi"},
                "gpu": {"gpus": 1, "node_selector": {"pool": "training"}, "claim": "checkpoints"},
            },
        }
    )
    assert profiles_file(settings).parent.parent == settings.pipelines.parent
    found = variables({"profile": "gpu"}, settings)
    assert {"key": "pool", "operator": "In", "values": ["training"]} in found["node_requirements"]
    assert found["work_volume"]["persistentVolumeClaim"] == {"claimName": "checkpoints"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("profiles: [", "cannot be read"),
        ({"profiles": {"gpu": {"gpus": 1}}}, "has no profile 'cpu'"),
        ({"profiles": {"cpu": {"nodeselector": {}}}}, "Did you mean 'node_selector'"),
        ({"profiles": {"cpu": {"grace_seconds": 0}}}, "Received profiles.cpu.grace_seconds=0"),
    ],
)
def test_a_file_of_profiles_that_cannot_be_is_said(own: Any, content: object, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_profiles(own(content))
    assert said in str(error.value)
    assert "profiles.yaml" in str(error.value)


def test_how_long_the_loss_of_a_node_is_borne_can_be_said(own: Any) -> None:
    always = {"key": "node.kubernetes.io/not-ready", "operator": "Exists"}
    settings = own({"profiles": {"cpu": {"node_lost_seconds": 20, "tolerations": [always]}}})
    own_word, ours = variables({}, settings)["tolerations"]
    assert own_word == always
    assert (ours["key"], ours["tolerationSeconds"]) == ("node.kubernetes.io/unreachable", 20)


def test_the_shipped_profiles_are_those_that_the_page_names() -> None:
    assert list(load_profiles(SETTINGS).profiles) == ["cpu", "gpu", "gpu-spot"]


def test_a_spot_node_that_is_drained_tells_its_run() -> None:
    said = variables({"profile": "gpu-spot"})["annotations"]
    assert said == {"karpenter.sh/do-not-disrupt": "false"}
    assert "annotations" not in variables({"profile": "gpu"})
