"""`roundhouse doctor` on a real stack, and on stacks that are ill in one way each."""

import contextlib
import io
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra import doctor
from infra.examinations import databases, deployments, places, runs, servers
from infra.examinations.findings import Stack
from tasks.errors import StorageError
from tasks.probe import Disk, ProbeReport, Trial, find_versions
from tasks.settings import Settings

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def ours(stack: Any) -> Any:
    """The running stack as it is examined: (**other settings) -> Stack."""

    def make(**other: Any) -> Stack:
        addresses = {"prefect_api_url": f"{stack.prefect}/api", "tracking_uri": stack.mlflow}
        settings = Settings(home=stack.command.home)
        return Stack(settings.model_copy(update={**addresses, **other}))

    return make


@pytest.fixture(scope="module")
def locked(tmp_path_factory: Any) -> Any:
    """A Prefect server with a password, whose pages send browsers to no address."""
    from infra.databases import prepare_databases
    from infra.embedded import EmbeddedServer
    from infra.environment import EMBEDDED, environment

    settings = Settings(home=tmp_path_factory.mktemp("locked"))
    prepare_databases(settings)
    values = {
        **environment(settings),
        **EMBEDDED,
        "PREFECT_SERVER_API_AUTH_STRING": "ada:a-long-password",
        "PREFECT_SERVER_UI_API_URL": "http://0.0.0.0:4200/api",
    }
    with EmbeddedServer(values, settings.home_folder / "server.log") as server:
        server.start()
        server.wait()
        served = settings.model_copy(update={"prefect_api_url": server.api_url})
        yield lambda login: Stack(served, prefect_login=login)


def only(findings: Any) -> Any:
    (finding,) = findings
    return finding


def lines(text: str) -> dict[str, str]:
    """What was said of each thing; the first line of it."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        what, _, rest = line.partition(": ")
        said.setdefault(what, rest)
    return said


def test_a_healthy_stack_is_said_to_be_well(stack: Any) -> None:
    done = stack.command("doctor")
    assert done.stdout.splitlines()[-1] == "All is well."
    assert done.returncode == 0
    said = lines(done.stdout)
    assert not [what for what in said if what.startswith("✗")]
    assert said["✓ Prefect"] == f"{stack.prefect}/api answers, and asks for no credentials"
    assert said["✓ deployments"].startswith("digits, breast-cancer, churn, mnist-mlp")
    assert ": all there" in said["✓ deployments"]
    home = stack.command.home
    assert f"10 MB written and read back at {home}/storage" in said["✓ runs"] + done.stdout
    (code,) = [line for line in done.stdout.splitlines() if line.startswith("✓ runs: code: ")]
    flows = {"training.train", "comparing.compare", "probing.probe"}
    flows |= {"promoting.promote", "promoting.roll_back", "training_job.train_apart"}
    named = code.removeprefix("✓ runs: code: ").removesuffix(" importable").split(", ")
    assert set(named) == {f"flows.{flow}" for flow in flows}
    assert not list(home.rglob("probe-*"))


def test_several_ills_are_all_told_each_with_its_cure(stack: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = stack.command(
        "doctor",
        ROUNDHOUSE_ALLOWED_HOSTS="models.example.org",
        ROUNDHOUSE_NOTIFY="https://hooks.example.org/planted-token",
        ROUNDHOUSE_STORAGE=str(tmp_path / "file" / "storage"),
    )
    assert done.returncode == 1
    said = lines(done.stdout)
    assert "models.example.org" in said["✗ MLflow's host check"]
    assert "; add it to ROUNDHOUSE_ALLOWED_HOSTS" in said["✗ MLflow's host check"]
    assert "missing; run `roundhouse deploy`" in said["✗ automations"]
    assert "storage: Not a directory; make it writable" in said["✗ storage"]
    assert "; make it writable, or set ROUNDHOUSE_STORAGE" in said["✗ storage"]
    assert "✗ runs: places: runs use " in done.stdout
    assert "✓ worker of local: " in done.stdout
    assert done.stdout.splitlines()[-1] == "4 to mend."
    assert "planted-token" not in done.stdout + done.stderr


def test_where_nothing_is_up_it_says_what_to_start(roundhouse: Any) -> None:
    done = roundhouse("doctor")
    assert done.returncode == 1
    assert done.stdout.startswith(
        f"✗ stack: none is up on {roundhouse.home}; start `roundhouse up`"
    )
    assert not roundhouse.home.exists()


def test_servers_that_are_away_are_said_to_be_and_what_needs_them_is_left(roundhouse: Any) -> None:
    done = roundhouse(
        "doctor", ROUNDHOUSE_PREFECT_API_URL=f"{NOBODY}/api", ROUNDHOUSE_TRACKING_URI=NOBODY
    )
    assert done.returncode == 1
    said = lines(done.stdout)
    for what, setting in (("Prefect", "PREFECT_API_URL"), ("MLflow", "TRACKING_URI")):
        assert "does not answer (Connection refused)" in said[f"✗ {what}"]
        assert said[f"✗ {what}"].endswith(f"or correct ROUNDHOUSE_{setting}")
    assert said["Not looked at before that is mended"].startswith("Prefect pages, websocket, ")
    assert "✓ storage: 10 MB" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 to mend."


def test_an_examination_that_breaks_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(stack: Stack) -> Any:
        raise LookupError("http://ada:planted@host went away")

    def refusing(stack: Stack) -> Any:
        raise StorageError("The disk is full. Free some space.")

    monkeypatch.setattr(doctor, "ANSWERS", ())
    looks = (doctor.Look("one", broken), doctor.Look("two", refusing))
    monkeypatch.setattr(doctor, "LOOKS", (*looks, doctor.Look("three", places.disks)))
    shown = io.StringIO()
    assert not doctor.look_at(Stack(Settings()), Console(file=shown, width=200))
    said = lines(shown.getvalue())
    assert said["✗ one"].startswith("could not be looked at: LookupError: http://host went away; ")
    assert said["✗ two"] == "The disk is full; Free some space"
    assert "✓ three" in said or "✓ disk" in said


def test_an_examination_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    ended = threading.Event()

    def hang(stack: Stack) -> Any:
        ended.wait(20)

    monkeypatch.setattr(doctor, "ANSWERS", (doctor.Look("slow", hang, seconds=0.2),))
    monkeypatch.setattr(doctor, "LOOKS", ())
    shown = io.StringIO()
    assert not doctor.look_at(Stack(Settings()), Console(file=shown, width=200))
    ended.set()
    assert shown.getvalue().startswith("✗ slow: not known after 0.2 s; ")


def test_wrong_credentials_are_refused_and_right_ones_accepted(locked: Any) -> None:
    refused = only(servers.prefect_answers(locked("ada:something-else")))
    assert "refuses the credentials" in refused.fact
    assert "set ROUNDHOUSE_PASSWORD" in refused.cure
    none = only(servers.prefect_answers(locked(None)))
    assert "asks for credentials, and none are set" in none.fact
    accepted = only(servers.prefect_answers(locked("ada:a-long-password")))
    assert accepted.is_well
    assert accepted.fact.endswith(", and accepts the credentials")


def test_the_websocket_wants_the_credentials_too(locked: Any) -> None:
    assert only(servers.websocket(locked("ada:a-long-password"))).is_well
    refused = only(servers.websocket(locked("ada:something-else")))
    assert "refuses the credentials" in refused.fact
    assert refused.cure == "set ROUNDHOUSE_PASSWORD to that of the server"


def test_a_websocket_that_does_not_open_is_said_so(ours: Any) -> None:
    # MLflow answers there, as a proxy would that passes no websockets
    found = only(servers.websocket(ours(prefect_api_url=f"{ours().mlflow}/api")))
    assert "does not open" in found.fact
    assert "Upgrade and Connection" in found.cure


def test_pages_that_send_browsers_nowhere_are_found(locked: Any, ours: Any) -> None:
    found = only(servers.pages(locked("ada:a-long-password")))
    assert found.fact == "send browsers to http://0.0.0.0:4200/api, which is no address"
    assert "PREFECT_SERVER_UI_API_URL" in found.cure
    assert only(servers.pages(ours())).is_well
    assert "serves no pages" in only(servers.pages(ours(prefect_api_url=ours().mlflow))).fact


def test_a_server_that_asks_for_no_password_though_one_is_set_is_open(ours: Any) -> None:
    import dataclasses

    stack = dataclasses.replace(ours(), prefect_login="ada:a-long-password")
    _, found = servers.prefect_answers(stack)
    assert found.fact.endswith("lets in whoever has no password")
    assert "ROUNDHOUSE_PASSWORD" in found.cure


def test_another_version_at_the_server_is_told(ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find_versions", lambda: {"prefect": "3.0.0", "mlflow": "3.0.0"})
    for found in (servers.prefect_version(ours()), servers.mlflow_version(ours())):
        assert only(found).fact.startswith("3.0.0 here, 3.")
        assert "requirements.lock" in only(found).cure


def test_clocks_apart_are_told() -> None:
    found = servers.clock_finding("clocks", {"Prefect": 0.0, "MLflow": -61.0}, "here")
    assert found.fact == "MLflow is -61 s from here"
    assert "NTP" in found.cure
    assert servers.clock_finding("clocks", {"Prefect": 4.0}, "here").is_well


@pytest.mark.parametrize(
    ("free", "total", "is_well"),
    [(1.9, 10, False), (2.1, 10, True), (10, 1000, False), (30, 1000, True)],
)
def test_a_disk_with_little_room_is_told(free: float, total: float, is_well: bool) -> None:
    gib = 2**30
    disk = Disk(folder="/home", free=int(free * gib), total=int(total * gib))
    found = only(places.disk_findings("disk", [disk]))
    assert found.is_well == is_well
    assert is_well or "ROUNDHOUSE_HOME" in found.cure


def test_artefacts_that_cannot_be_written_are_told(tmp_path: Path, mlflow_database: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(home=tmp_path, artifacts=str(tmp_path / "file" / "artifacts"))
    found = only(places.artifacts(Stack(settings)))
    assert found.fact.endswith("Not a directory")
    assert "ROUNDHOUSE_ARTIFACTS" in found.cure


def test_a_storage_that_cannot_be_written_has_one_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(home=tmp_path, storage=str(tmp_path / "file" / "storage"))
    found = only(places.storage(Stack(settings)))
    assert found.fact.endswith("Not a directory")
    assert "ROUNDHOUSE_STORAGE" in found.cure


def test_an_old_mlflow_database_is_told(tmp_path: Path, mlflow_database: Path) -> None:
    shutil.copyfile(mlflow_database, tmp_path / "mlflow.db")
    stack = Stack(Settings(home=tmp_path))
    assert only(databases.mlflow_database(stack)).is_well
    with revision_of(tmp_path / "mlflow.db"):
        found = only(databases.mlflow_database(stack))
    assert found.fact.startswith("SQLite at revision 0123456; expected ")
    assert f"`mlflow db upgrade` with sqlite:///{tmp_path}/mlflow.db" in found.cure


def test_an_old_prefect_database_is_told(ours: Any) -> None:
    assert only(databases.prefect_database(ours())).is_well
    with revision_of(ours().settings.home_folder / "prefect" / "prefect.db"):
        found = only(databases.prefect_database(ours()))
    assert found.fact.startswith("SQLite at revision 0123456; expected ")
    assert "`prefect server database upgrade -y`" in found.cure


@contextlib.contextmanager
def revision_of(path: Path) -> Any:
    """While it lasts, a database is of a revision of long ago."""

    def change(revision: str) -> str:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as database, database:
            (before,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        return str(before)

    before = change("0123456")
    try:
        yield
    finally:
        change(before)


@pytest.fixture
def lonely(ours: Any) -> Any:
    """A deployment of ours in a pool that no worker polls, with a schedule that has no slug."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
    from prefect.client.schemas.schedules import CronSchedule

    with ours().client() as client:
        client.create_work_pool(WorkPoolCreate(name="lonely", type="process"))
        flow = client.create_flow_from_name("train")
        number = client.create_deployment(
            flow,
            "lonely",
            tags=["roundhouse"],
            work_pool_name="lonely",
            schedules=[DeploymentScheduleCreate(schedule=CronSchedule(cron="0 5 * * *"))],
        )
        yield client.read_deployment(number)
        client.delete_deployment(number)
        client.delete_work_pool("lonely")


def test_a_pool_without_a_worker_is_told(ours: Any, lonely: Any) -> None:
    found = {finding.what: finding for finding in deployments.workers(ours())}
    assert found["worker of local"].is_well
    assert found["worker of lonely"].fact == "none polls"
    assert found["worker of lonely"].cure == "start `roundhouse worker --pool lonely`"
    assert not deployments.is_polled(ours(), "lonely")


def test_a_schedule_without_a_slug_is_told(ours: Any, lonely: Any) -> None:
    found = only(deployments.schedules(ours()))
    assert found.fact == "lonely has one without a slug, cron 0 5 * * *"
    assert "run `roundhouse deploy`" in found.cure


def test_a_schedule_that_drops_the_pipelines_values_is_told(ours: Any) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    with ours().client() as client:
        digits = client.read_deployment_by_name("train/digits")
        (schedule,) = client.create_deployment_schedules(
            digits.id, [(CronSchedule(cron="0 5 * * *"), False)]
        )
        place = f"/deployments/{digits.id}/schedules/{schedule.id}"
        given = {"slug": "mine", "parameters": {"training": {"epochs": 3}}}
        ours().ask_prefect(place, method="PATCH", body=given).raise_for_status()
        found = only(deployments.schedules(ours()))
        client.delete_deployment_schedule(digits.id, schedule.id)
    assert "of digits do not fit: training: 'learning_rate' is a required" in found.fact
    assert f"/deployments/deployment/{digits.id}" in found.cure


def test_a_pipeline_that_is_not_deployed_is_told(ours: Any, tmp_path: Path) -> None:
    text = Settings().pipelines.read_text().replace("name: churn\n", "name: leavers\n")
    (tmp_path / "prefect.yaml").write_text(text.replace("pipeline: churn\n", "pipeline: leavers\n"))
    found = only(deployments.deployed(ours(pipelines=tmp_path / "prefect.yaml")))
    assert found.fact == "leavers is not deployed"
    assert found.cure == "run `roundhouse deploy`"


def test_an_automation_that_is_switched_off_is_told(ours: Any) -> None:
    with ours().client() as client:
        automation = client.read_automations(limit=200)[0]
        client.pause_automation(automation.id)
        try:
            found = only(deployments.automations(ours()))
        finally:
            client.resume_automation(automation.id)
    assert found.fact == f"{automation.name!r} switched off"
    assert found.cure.endswith("/automations")


@pytest.fixture
def report(ours: Any) -> Any:
    """What a run finds where all is well, but for what is said: (**other) -> ProbeReport."""
    stack = ours()

    def make(**other: Any) -> ProbeReport:
        return ProbeReport(
            **{
                "host": "far",
                "mlflow": stack.mlflow,
                "versions": find_versions(),
                "storage": Trial(place=stack.settings.storage_uri),
                "artifacts": (Trial(place="s3://bucket"),),
                "disks": (),
                "clocks": {},
                "gpus": (),
                "code": {"flows.training.train": ""},
                **other,
            }
        )

    return make


@pytest.mark.parametrize(
    ("other", "what", "cure"),
    [
        ({"code": {"flows.a.b": "ModuleNotFoundError"}}, "code", "install this version"),
        ({"mlflow": "http://elsewhere"}, "places", "set ROUNDHOUSE_TRACKING_URI alike"),
        ({"storage": Trial(place="/tmp")}, "places", "set ROUNDHOUSE_STORAGE alike"),
        ({"artifacts": (Trial(place="s3://b", problem="AccessDenied"),)}, "artefacts", "AWS_"),
        ({"versions": {"mlflow": "3.0.0"}}, "versions", "requirements.lock"),
        ({"clocks": {"Prefect": 99.0}}, "clocks", "NTP"),
        ({"disks": (Disk(folder="/", free=1, total=100),)}, "disk", "ROUNDHOUSE_STORAGE"),
    ],
)
def test_what_is_wrong_where_runs_execute_is_told(
    ours: Any, report: Any, other: Any, what: str, cure: str
) -> None:
    assert all(finding.is_well for finding in runs.judge(ours(), report(), []))
    (found,) = [f for f in runs.judge(ours(), report(**other), []) if not f.is_well]
    assert found.what == f"runs: {what}"
    assert cure in found.cure


def test_a_cluster_has_names_of_its_own_for_its_places(ours: Any, report: Any, lonely: Any) -> None:
    there = report(mlflow="http://mlflow:5000", storage=Trial(place="s3://models"))
    cluster = replace(ours(), in_cluster=True)
    assert all(finding.is_well for finding in runs.judge(cluster, there, []))
    assert not all(finding.is_well for finding in runs.judge(ours(), there, []))
    assert runs.longest(cluster) > runs.longest(ours())
    asking = lonely.model_copy(update={"job_variables": {"gpu_count": 1}})
    assert runs.judge(cluster, there, [asking])[-1].is_well
    # the bucket is the runs' own, and this machine has no keys of it
    for look in (places.storage, places.artifacts):
        assert only(look(cluster)).is_well


def test_a_gpu_is_missed_only_where_one_is_asked_for(ours: Any, report: Any, lonely: Any) -> None:
    asking = lonely.model_copy(update={"parameters": {"training": {"precision": "mixed_bfloat16"}}})
    by_job = lonely.model_copy(update={"job_variables": {"gpu_count": 1}})
    for deployment, gpus, is_well in (
        (lonely, (), True), (asking, (), False), (by_job, (), False), (asking, ("H200",), True),
    ):  # fmt: skip
        found = runs.judge(ours(), report(gpus=gpus), [deployment])[-1]
        assert found.is_well == is_well
    assert "H200, asked for by lonely" in found.fact


def test_a_probe_that_nobody_takes_is_taken_back(
    ours: Any, lonely: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "RUN_SECONDS", 1.0)
    monkeypatch.setattr(deployments, "PROBE", "lonely")
    assert runs.runs(ours()) == []
    monkeypatch.setattr(deployments, "is_polled", lambda stack, pool: True)
    found = only(runs.runs(ours()))
    assert found.fact == "none was taken from pool lonely in 1 s"
    assert "concurrency limit" in found.cure
    with ours().client() as client:
        states = [
            run.state.type.value
            for run in client.read_flow_runs(limit=200)
            if run.deployment_id == lonely.id and not run.auto_scheduled
        ]
    assert states == ["CANCELLED"]
