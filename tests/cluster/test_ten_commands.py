"""infra/README.md, followed to the letter: from an empty cluster to a champion, and on from there.

What stands for what cannot be had: `docker`, which only notes what it is told; moto for SeaweedFS;
and our node, which runs what our image would from this very environment.
"""

import base64
import contextlib
import datetime
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images, pod_network
from tests.cluster.api import Api, eventually
from tests.cluster.conftest import GIVEN
from tests.cluster.local_cluster import local_cluster
from tests.cluster.node import Node
from tests.cluster.program import MissingError, control_plane
from tests.cluster.reader import MANUAL, Reader, commands

pytestmark = pytest.mark.cluster

PREFECT, MLFLOW = "http://localhost:4200", "http://localhost:5000"
COMMAND_SECONDS, START_SECONDS, RUN_SECONDS = 300, 900, 1200
VOLUMES = 3
DATABASE = "kubectl -n roundhouse exec postgres-0 -- psql -U roundhouse prefect"


def provide_volumes(api: Api, folder: Path) -> None:
    """A default storage class, and volumes that wait for claims, as nobody makes them on demand."""
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    kind = {"metadata": {"name": "standard", "annotations": default}}
    api.create("storageclasses", {**kind, "provisioner": "kubernetes.io/no-provisioner"})
    for number in range(VOLUMES):
        spec = {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "standard",
            "hostPath": {"path": str(folder)},
        }
        api.create("persistentvolumes", {"metadata": {"name": f"disk-{number}"}, "spec": spec})


@pytest.fixture(scope="module")
def empty(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Api, Path]]:
    """An empty cluster whose pods have addresses of their own, and the program that it is."""
    if GIVEN:
        pytest.skip("makes a namespace of a fixed name, which a cluster that is given may have")
    if reason := pod_network.unavailable() or images.unavailable():
        pytest.skip(reason)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            program = control_plane()
    except MissingError as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("ten")
    with contextlib.ExitStack() as stack:
        # Redis is told its password by a file there, which is this machine's as well
        stack.callback(Path("/tmp/redis.conf").unlink, missing_ok=True)
        stack.enter_context(pod_network.own_network())
        api = Api(stack.enter_context(local_cluster(program, folder)))
        stack.callback(api.close)
        provide_volumes(api, folder)
        path = images.write_programs(folder / "programs")
        network = pod_network.PodNetwork(api, folder / "network", program, images.images(), path)
        stack.callback(network.close)
        node = Node(api, "node", folder / "node", network=network)
        stack.enter_context(node.running())
        eventually(lambda: not api.read("nodes", "node")["spec"].get("taints"), what="a node")
        yield api, program


@pytest.fixture(scope="module")
def reader(empty: tuple[Api, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Who has followed the ten commands."""
    api, program = empty
    with Reader(tmp_path_factory.mktemp("reader"), program, api.kubeconfig).at_work() as reader:
        told = commands()
        assert len(told) == 10, told
        try:
            for command in told:
                reader.run(command, START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{pods(reader)}") from error
        yield reader


def pods(reader: Reader) -> str:
    return reader.run(
        "kubectl -n roundhouse get pods -o wide; kubectl -n roundhouse get events "
        "--field-selector type=Warning; for p in $(kubectl -n roundhouse get pods "
        "-o name); do kubectl -n roundhouse logs --all-containers --tail=15 $p; done"
    )


def password(reader: Reader) -> str:
    """The password, found as the manual says."""
    found = re.search(r"`(kubectl [^`]*base64 -d)`", MANUAL.read_text())
    assert found
    return reader.value(found[1])


def ask(reader: Reader, place: str, body: Any = None, method: str | None = None) -> Any:
    """One of the two servers, as people reach it."""
    pair = base64.b64encode(f"admin:{password(reader)}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {pair}"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(place, content, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def test_the_image_is_built_and_pushed(reader: Reader) -> None:
    built, pushed = Path(f"{reader.docker}.told").read_text().splitlines()
    image = "registry.example.org/roundhouse:1.0.0"
    assert pushed == f"push {image}"
    assert "--target cpu" in built
    assert f"--tag {image}" in built


def test_the_pages_ask_for_the_password(reader: Reader) -> None:
    for place in (f"{PREFECT}/api/admin/version", f"{MLFLOW}/api/2.0/mlflow/experiments/search"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(place, timeout=30)
    assert ask(reader, f"{PREFECT}/api/admin/version")


def test_the_doctor_finds_the_cluster_well(reader: Reader) -> None:
    said = reader.run("roundhouse doctor --target kubernetes", START_SECONDS)
    for fact in ("Kubernetes v", "roundhouse is there", "restricted", "standard is the default"):
        assert fact in said


def test_the_nightly_run_lands_a_champion(reader: Reader) -> None:
    """The run that the schedule has made for 02:00 UTC, brought forward to now."""
    deployment = ask(reader, f"{PREFECT}/api/deployments/name/train/digits")
    wanted = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    nightly = eventually(
        lambda: ask(reader, f"{PREFECT}/api/flow_runs/filter", wanted),
        COMMAND_SECONDS, "a run that the schedule has made",
    )[0]  # fmt: skip
    assert nightly["auto_scheduled"]
    assert nightly["expected_start_time"][11:16] == "02:00"
    now = {"scheduled_time": datetime.datetime.now(datetime.UTC).isoformat()}
    state = {"type": "SCHEDULED", "name": "Scheduled", "state_details": now}
    place = f"{PREFECT}/api/flow_runs/{nightly['id']}/set_state"
    ask(reader, place, {"state": state, "force": True})
    ended(reader, nightly["id"])
    assert champion(reader) == "1"
    assert image_of(reader, nightly["id"]) == "registry.example.org/roundhouse:1.0.0"


def test_an_upgrade_and_a_new_password_carry_on(reader: Reader) -> None:
    before, image = password(reader), "registry.example.org/roundhouse:1.1.0"
    # one restart serves both: the secret is changed, and what else that takes is in the upgrade
    reader.run(commands("A new password")[0])
    reader.run("kill $(jobs -p); wait; true")
    for command in commands("Upgrade"):
        reader.run(command, START_SECONDS)
    assert before != password(reader)
    deployment = ask(reader, f"{PREFECT}/api/deployments/name/train/digits")
    made = ask(reader, f"{PREFECT}/api/deployments/{deployment['id']}/create_flow_run", {})
    ended(reader, made["id"])
    assert image_of(reader, made["id"]) == image


def test_a_backup_is_restored_as_it_was(reader: Reader) -> None:
    for command in commands("Backups"):
        reader.run(command, COMMAND_SECONDS)
    for name in ("prefect", "mlflow"):
        assert (reader.checkout / f"{name}.dump").read_bytes().startswith(b"PGDMP")
    served = champion(reader)
    # as a newer version's migration would leave it: a table that refers to one of the old
    later = (
        "CREATE TABLE later (run uuid REFERENCES flow_run (id)); "
        "INSERT INTO later SELECT id FROM flow_run LIMIT 1; UPDATE flow_run SET name = 'changed'"
    )
    reader.run(f'{DATABASE} -c "{later}"')
    reader.run("kill $(jobs -p); wait; true")
    for command in commands("Restore"):
        reader.run(command, START_SECONDS)
    counted = "SELECT count(*) FROM flow_run WHERE name = 'changed'"
    assert reader.value(f'{DATABASE} -tAc "{counted}"') == "0"
    assert "later" not in reader.run(f"{DATABASE} -c '\\dt'")
    for command in commands()[7:9]:
        reader.run(command, START_SECONDS)
    assert champion(reader) == served


def ended(reader: Reader, run: str) -> None:
    """Waits until a run has ended well.

    Raises:
        AssertionError: If it ended otherwise; with what its pod said.
    """

    def look() -> str:
        state = ask(reader, f"{PREFECT}/api/flow_runs/{run}")["state"]
        over = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        return f"{state['type']} {state['message']}" if state["type"] in over else ""

    try:
        said = eventually(look, RUN_SECONDS, f"the end of {run}")
    except TimeoutError as error:
        raise AssertionError(f"{error}\n{pods(reader)}") from error
    assert said.startswith("COMPLETED"), f"{said}\n{pods(reader)}"


def image_of(reader: Reader, run: str) -> str:
    chosen = f"kubectl -n roundhouse get jobs -l prefect.io/flow-run-id={run} -o "
    return reader.value(f"{chosen} jsonpath='{{..containers[0].image}}'")


def champion(reader: Reader) -> str:
    """The version that MLflow has of the champion of digits."""
    asked = "alias?name=digits&alias=champion"
    found = ask(reader, f"{MLFLOW}/api/2.0/mlflow/registered-models/{asked}")
    return str(found["model_version"]["version"])
