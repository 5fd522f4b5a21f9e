from collections.abc import Callable
from typing import Any

import pytest

from tasks import tracking
from tasks.config import ModelConfig
from tasks.errors import ConfigError, StorageError
from tasks.initialisation import find_initial_weights, parse_address
from tasks.registry import NETWORK, Registry
from tasks.storage import Storage


@pytest.fixture
def find(context: Any, prepare_table: Any) -> Callable[..., Any]:
    """Asks from a run of another pipeline: (address, prepared) -> initial weights."""

    def ask(address: str | None, prepared: Any = None, **changes: Any) -> Any:
        other = context.model_copy(update={"pipeline": "other"})
        model = ModelConfig(initial_weights=address, **changes)
        return find_initial_weights.fn(other, prepared or prepare_table(), model)

    return ask


@pytest.mark.parametrize(
    ("address", "parsed"),
    [("models:/mnist-cnn@champion", ("mnist-cnn", "champion")), ("models:/low/12", ("low", 12))],
)
def test_an_address_names_a_model_and_an_alias_or_a_version(
    address: str, parsed: tuple[str, str | int]
) -> None:
    assert parse_address(address) == parsed


def test_an_alias_is_the_version_that_has_it_now(
    find: Callable[..., Any], context: Any, prepare_table: Any, release: Any
) -> None:
    made = release(prepare_table())
    release(prepare_table(), skill=0.5)
    Registry(context).set_alias("champion", 1)
    found = find("models:/trial@champion")
    assert (found.name, found.version) == ("trial", 1)
    assert found.sentence == "models:/trial/1 (models:/trial@champion)"
    network = made.package.files["artifacts/network.keras"]
    assert found.network.sha256 == network.sha256
    assert Storage(context.storage_uri).path(found.network).is_file()
    assert find("models:/trial/2").version == 2
    Registry(context).set_alias("champion", 2)
    assert find("models:/trial@champion").version == 2


def test_it_is_a_tag_of_the_run(
    find: Callable[..., Any], context: Any, prepare_table: Any, release: Any
) -> None:
    release(prepare_table())
    find("models:/trial/1")
    run = tracking.client(context.mlflow_uri).get_run(context.run_id)
    assert run.data.tags["roundhouse.initial"] == "models:/trial/1 (models:/trial/1)"


def test_nothing_is_asked_where_nothing_is_configured(find: Callable[..., Any]) -> None:
    assert find(None).network is None


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("models:/trail@champion", "Did you mean 'trial'"),
        (
            "models:/trial@champion",
            "initial_weights is models:/trial@champion. trial has no alias 'champion'; expected "
            "none, as it has no alias, or a version such as trial/1",
        ),
        ("models:/trial/7", "trial has no version 7; expected one of 1"),
    ],
)
def test_what_is_not_registered_is_refused_with_what_is(
    address: str, said: str, find: Callable[..., Any], prepare_table: Any, release: Any
) -> None:
    release(prepare_table())
    with pytest.raises(ConfigError, match=said):
        find(address)


def test_the_aliases_that_there_are_are_named(
    find: Callable[..., Any], context: Any, prepare_table: Any, release: Any
) -> None:
    release(prepare_table())
    Registry(context).set_alias("challenger", 1)
    with pytest.raises(ConfigError, match=r"expected challenger \(v1\), or a version"):
        find("models:/trial@champion")


def test_trees_cannot_start_from_a_network(find: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="is no network"):
        find("models:/trial/1", architecture="boosting")


def test_a_network_that_was_changed_is_refused(
    find: Callable[..., Any], context: Any, prepare_table: Any, release: Any
) -> None:
    release(prepare_table())
    Registry(context).tag(1, {NETWORK: "0" * 64})
    with pytest.raises(StorageError, match="expected 000"):
        find("models:/trial/1")


def test_a_version_without_a_network_of_keras_is_refused(
    find: Callable[..., Any], context: Any, prepare_table: Any, release: Any
) -> None:
    release(prepare_table())
    registry = Registry(context)
    client, folder = registry.client, context.storage_uri
    client.create_model_version("trial", source=folder)
    with pytest.raises(ConfigError, match="no network of Keras"):
        find("models:/trial/2")


def test_rows_that_test_must_not_have_trained_what_is_started_from(
    find: Callable[..., Any], prepare_table: Any, release: Any
) -> None:
    release(prepare_table(seed=1))
    with pytest.raises(ConfigError, match=r"have trained what it starts from; expected none"):
        find("models:/trial/1", prepare_table(seed=2))
    assert find("models:/trial/1", prepare_table(seed=1)).version == 1
