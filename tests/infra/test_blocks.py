from typing import Any

import pytest

from infra.blocks import read_block
from infra.pipelines import Block, load_blocks
from tasks.errors import ConfigError
from tasks.settings import Settings

BLOCKS = load_blocks(Settings().pipelines)


def changed(**content: Any) -> Block:
    block = BLOCKS["digits"]
    return Block(block.name, {**block.content, **content}, block.pull)


def nightly(**parameters: Any) -> dict[str, Any]:
    return {"schedules": [{"slug": "nightly", "cron": "0 2 * * *", "parameters": parameters}]}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_can_be_deployed(name: str) -> None:
    request = read_block(BLOCKS[name], Settings())
    assert request.name == name
    assert request.facts["pull_steps"] == []
    assert "roundhouse" in request.choices["tags"]


def test_the_page_says_what_the_pipeline_does() -> None:
    request = read_block(BLOCKS["digits"], Settings())
    text = request.choices["description"]
    assert "Handwritten digits" in text
    assert "accuracy of 0.95 or better" in text
    assert request.choices["tags"] == ["digits", "roundhouse"]


def test_a_block_says_its_pool_queue_limit_and_variables() -> None:
    pool = {"name": "k8s", "work_queue_name": "fast", "job_variables": {"image": "x"}}
    limit = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    choices = read_block(changed(work_pool=pool, concurrency_limit=limit), Settings()).choices
    assert choices["work_pool_name"] == "k8s"
    assert choices["work_queue_name"] == "fast"
    assert choices["job_variables"] == {
        "image": "x",
        # also from workers that know none of our settings
        "env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"},
    }
    assert choices["concurrency_limit"] == 1
    assert choices["concurrency_options"] == {"collision_strategy": "CANCEL_NEW"}


def test_the_usual_pool_is_the_one_of_the_stacks_worker() -> None:
    mine = Settings(pool="mine")
    assert read_block(BLOCKS["digits"], mine).choices["work_pool_name"] == "mine"
    elsewhere = changed(work_pool={"name": "k8s"})
    assert read_block(elsewhere, mine).choices["work_pool_name"] == "k8s"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"schedule": {"cron": "0 2 * * *"}}, "Unknown key 'schedule'.*mean 'schedules'"),
        ({"triggers": []}, "Unknown key 'triggers'.*set in its UI"),
        ({"work_pool": {"nam": "x"}}, "Unknown key 'nam' in work_pool of digits.*mean 'name'"),
        ({"work_pool": {"name": "a/b"}}, "Received 'a/b' as a work pool"),
        ({"work_pool": {"name": "prefect-x"}}, "Received 'prefect-x' as a work pool"),
        ({"concurrency_limit": 0}, "concurrency_limit 0; expected a number from 1"),
        ({"concurrency_limit": {"limit": 1, "collision_strategy": "X"}}, "or CANCEL_NEW"),
        (nightly(training={"epochs": 0}), "schedule nightly of digits are.*epochs: 0 is less"),
        (nightly(training={"epochs": 3}), "nightly of digits.*'learning_rate' is a required"),
        (nightly(nonsense=1), "schedule nightly of digits are not"),
        ({"entrypoint": "flows.nowhere.train"}, "cannot be imported"),
        ({"entrypoint": "tasks.settings.Settings"}, "is no flow"),
        ({"entrypoint": ""}, "cannot be imported"),
    ],
)
def test_a_block_that_cannot_be_deployed_gets_one_sentence(
    content: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_block(changed(**content), Settings())
    assert "\n" not in str(caught.value)


def test_a_schedule_may_have_parameters_of_its_own() -> None:
    own = {"training": {"learning_rate": 0.01, "epochs": 3}, "force": True}
    (schedule,) = read_block(changed(**nightly(**own)), Settings()).schedules
    assert schedule.parameters == own
