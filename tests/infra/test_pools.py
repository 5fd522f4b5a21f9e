import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from infra.deployment import prefect_client
from infra.pools import ensure_limits, ensure_pool, require_name
from tasks.errors import ConfigError
from tasks.settings import Settings


@pytest.fixture
def settings(prefect_server: str, kept_environment: None) -> Settings:
    return Settings(ROUNDHOUSE_PREFECT_API_URL=prefect_server)


@pytest.fixture
def client(settings: Settings) -> Iterator[Any]:
    with prefect_client(settings) as client:
        yield client


def test_a_pool_for_processes_is_made_once(client: Any, settings: Settings) -> None:
    name = f"pool-{uuid.uuid4().hex[:6]}"
    (sentence,) = ensure_pool(client, name, settings)
    assert f"roundhouse worker --pool '{name}'" in sentence
    pool = client.read_work_pool(name)
    assert pool.type == "process"
    assert "command" in pool.base_job_template["job_configuration"]
    assert ensure_pool(client, name, settings) == []


def test_a_pool_of_another_type_is_used_as_it_is(client: Any, settings: Settings) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    name = f"pool-{uuid.uuid4().hex[:6]}"
    client.create_work_pool(WorkPoolCreate(name=name, type="kubernetes", concurrency_limit=3))
    assert ensure_pool(client, name, settings) == []
    pool = client.read_work_pool(name)
    assert (pool.type, pool.concurrency_limit) == ("kubernetes", 3)


def test_the_gpu_limit_keeps_the_uis_number_until_its_setting_is_given(
    client: Any, settings: Settings
) -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    ensure_limits(client, settings)
    client.update_global_concurrency_limit("gpu", GlobalConcurrencyLimitUpdate(limit=3))
    assert ensure_limits(client, settings) == []
    assert client.read_global_concurrency_limit_by_name("gpu").limit == 3
    given = Settings(gpu_runs=2)
    assert ensure_limits(client, given) == ["limit gpu: 2 at once instead of 3"]
    assert ensure_limits(client, given) == []


@pytest.mark.parametrize("name", ["a/b", "", " ", "prefect-mine", "50%"])
def test_a_name_that_no_pool_can_have_is_said_so(name: str) -> None:
    with pytest.raises(ConfigError, match="as a work pool; expected a name without"):
        require_name(name)
