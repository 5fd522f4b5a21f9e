from typing import Any

import pytest

from infra.preconditions import require_startable, warnings
from infra.servers import mlflow_server, prefect_server
from tasks.errors import ConfigError
from tasks.settings import Settings


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"mlflow_port": 4200}, "Received port 4200 for both servers.*ROUNDHOUSE_MLFLOW_PORT"),
        ({"pool": "prefect-x"}, "Received 'prefect-x' as a work pool"),
        ({"notify": "hooks.example.org"}, "ROUNDHOUSE_NOTIFY has no scheme"),
        ({"host": "0.0.0.0"}, "and no password"),
    ],
)
def test_what_no_stack_can_do_is_said_before_anything_starts(
    given: dict[str, Any], reason: str
) -> None:
    settings = Settings(**given)
    with pytest.raises(ConfigError, match=reason):
        require_startable(settings, prefect_server(settings), mlflow_server(settings))


def test_links_that_lead_nowhere_for_others_are_warned_of() -> None:
    (sentence,) = warnings(Settings(host="0.0.0.0"))
    assert "lead to http://127.0.0.1:4200; set ROUNDHOUSE_ALLOWED_HOSTS" in sentence
    assert warnings(Settings(host="0.0.0.0", allowed_hosts="models.example")) == []
    assert warnings(Settings()) == []
