"""What people do in the pages, with no terminal: a real browser against the real stack."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.browser
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
# `make screenshots` names the folder whose pictures the README shows
SCREENSHOTS = os.environ.get("SCREENSHOTS")
FAILURES = Path(__file__).parent.parent.parent / ".screenshots"
MILLISECONDS = 30_000
RUN_SECONDS = 180


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """A window of headless Chromium."""
    if BROWSER is None:
        pytest.skip("needs Chromium on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # a test run as root has no sandbox to put the browser in
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        window = browser.new_context(viewport={"width": 1400, "height": 1000})
        window.set_default_timeout(MILLISECONDS)
        yield window
        browser.close()


@pytest.fixture(scope="module")
def requests(context: Any) -> set[str]:
    """The hosts that the pages have called."""
    called: set[str] = set()
    context.on("request", lambda request: called.add(host_of(request.url)))
    return called


def host_of(address: str) -> str:
    """Whom a page calls; empty for what it made itself."""
    return urlsplit(address.removeprefix("blob:")).hostname or ""


@pytest.fixture
def page(context: Any, requests: set[str], request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page, of which a picture is kept if the test fails."""
    opened = context.new_page()
    failed = request.session.testsfailed
    yield opened
    if request.session.testsfailed > failed:
        FAILURES.mkdir(exist_ok=True)
        opened.screenshot(path=FAILURES / f"{request.node.name}.png")
    opened.close()


@pytest.fixture
def open_form(page: Any, stack: Any) -> Callable[[], None]:
    """Opens the form of the pipeline digits: Deployments, digits, Run, Custom run."""

    def open_it() -> None:
        open_pipeline(page, stack, "digits")
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Custom run").click()
        page.get_by_label("Epochs (Optional)", exact=True).wait_for()

    return open_it


@pytest.fixture(scope="module")
def stack(stack_at: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stack on a fresh home, which is stopped and started again in the end."""
    return stack_at(tmp_path_factory.mktemp("browsed") / "home")


def open_pipeline(page: Any, stack: Any, name: str) -> None:
    """From the address that `roundhouse up` prints to the page of a pipeline."""
    page.goto(stack.prefect)
    page.get_by_role("link", name="Deployments", exact=True).click()
    page.get_by_role("link", name=name, exact=True).first.click()


def keep(page: Any, name: str) -> None:
    """A picture for the README, when it is asked for."""
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def test_the_form_has_typed_fields_with_the_pipelines_own_values(
    page: Any, open_form: Callable[[], None]
) -> None:
    open_form()
    for label, value in (
        ("Epochs (Optional)", "20"),
        ("Learning rate", "0.005"),
        ("Batch size (Optional)", "32"),
    ):
        field = page.get_by_label(label, exact=True)
        assert (field.get_attribute("type"), field.input_value()) == ("number", value)
    assert page.get_by_text("Passes over the training rows, or trees.").is_visible()
    assert page.get_by_label("Location (Optional)").is_visible()
    assert page.get_by_label("Filters (Optional)").count() == 0
    assert page.locator(".cm-editor").count() == 0


def test_a_wrong_value_is_refused_before_a_run_exists(
    page: Any, open_form: Callable[[], None], stack: Any
) -> None:
    open_form()
    before = len(stack.runs())
    epochs = page.get_by_label("Epochs (Optional)", exact=True)
    epochs.fill("0")
    page.get_by_role("button", name="Submit").click()
    assert "greater than or equal to 1" in epochs.evaluate("field => field.validationMessage")
    assert page.url.partition("?")[0].endswith("/run")
    assert len(stack.runs()) == before


def test_a_run_from_the_form_ends_as_a_champion_in_mlflow(
    page: Any, open_form: Callable[[], None], stack: Any
) -> None:
    open_form()
    page.get_by_label("Epochs (Optional)", exact=True).fill("12")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("View run").click()
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=RUN_SECONDS * 1000)
    (run,) = [run for run in stack.runs() if run["name"] == "digits: first training"]
    assert run["state_type"] == "COMPLETED"
    assert run["parameters"]["training"]["epochs"] == 12
    page.reload()
    # of a long list, only what is in sight is there
    page.get_by_role("combobox").filter(has_text="Oldest to newest").click()
    page.get_by_role("option", name="Newest to oldest").click()
    page.get_by_text("promote_model finished").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("best epoch").first.wait_for()
    page.get_by_role("tab", name="Task Runs").click()
    for stage in ("check data", "train model", "promote model"):
        page.get_by_role("link", name=stage).first.wait_for()
    keep(page, "prefect")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name="digits-metrics").wait_for()
    page.get_by_role("link", name="digits-epochs").wait_for()
    page.get_by_role("link", name="digits-summary").click()
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    page.get_by_role("link", name="Check report and pictures").wait_for()
    # MLflow opens in a window of its own, as any address outside of Prefect does
    page.goto(page.get_by_role("link", name="MLflow run").get_attribute("href"))
    page.get_by_text("Promoted.").first.wait_for()
    page.get_by_text("test/accuracy").first.wait_for()


def test_the_version_says_champion_and_links_back_to_the_run(page: Any, stack: Any) -> None:
    page.goto(f"{stack.mlflow}/#/models/digits/versions/1?workflowType=machine_learning")
    page.get_by_role("link", name="The whole card").wait_for()
    # MLflow's assistant opens by itself, on every first visit
    page.get_by_role("button", name="Close").first.click()
    page.get_by_text(re.compile(r"^@\s*champion$")).first.wait_for()
    keep(page, "mlflow")
    page.goto(page.get_by_role("link", name="Prefect run").get_attribute("href"))
    page.get_by_text("digits: first training").first.wait_for()


@pytest.mark.slow
def test_a_rollback_from_the_form_says_that_there_is_nothing_to_go_back_to(
    page: Any, stack: Any
) -> None:
    page.goto(stack.prefect)
    page.get_by_role("link", name="Deployments", exact=True).click()
    page.get_by_role("link", name="digits", exact=True).first.wait_for()
    pages = page.url.partition("/deployments")[0]
    number = stack.ask("deployments/name/rollback/rollback")["id"]
    page.goto(f"{pages}/deployments/deployment/{number}/run")
    page.get_by_label("Pipeline").click()
    page.get_by_role("option", name="digits", exact=True).click()
    page.locator("textarea").first.fill("it errs on sevens")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("View run").click()
    page.get_by_text("Failed", exact=True).first.wait_for(timeout=RUN_SECONDS * 1000)
    page.get_by_text("digits has nothing to go back to: v1 is its champion").first.wait_for()


def test_a_schedule_made_in_the_page_brings_a_run_and_outlives_a_deploy(
    page: Any, stack: Any
) -> None:
    open_pipeline(page, stack, "breast-cancer")
    page.get_by_role("button", name="Schedule", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name="Cron").click()
    dialog.locator("input[name='schedule.cron']").fill("30 5 * * 1")
    dialog.get_by_role("button", name="Save").click()
    page.get_by_text("Deployment schedule created").wait_for()
    page.get_by_role("switch", name="toggle At 02:15 AM").click()
    deadline = time.monotonic() + 90
    while "05:30" not in next_runs(page) and time.monotonic() < deadline:
        page.reload()
    assert "05:30" in next_runs(page)
    assert stack.command("deploy").returncode == 0
    page.reload()
    assert page.get_by_role("switch", name="toggle At 02:15 AM").get_attribute("data-state") == (
        "unchecked"
    )
    assert page.get_by_role("switch", name=re.compile("At 05:30 AM")).count() == 1


def next_runs(page: Any) -> str:
    """The text of the list of runs to come."""
    page.get_by_role("tab", name="Upcoming").click()
    page.get_by_text(re.compile(r"\d+ Flow runs?")).wait_for()
    time.sleep(1)
    return str(page.inner_text("main"))


def test_after_ctrl_c_and_up_again_everything_is_as_it_was(
    page: Any, stack: Any, stack_at: Callable[..., Any]
) -> None:
    before = stack.ask("deployments/name/train/breast-cancer")["schedules"]
    assert stack.stop() == 0
    again = stack_at(stack.home, **stack.command.environment)
    assert again.ask("deployments/name/train/breast-cancer")["schedules"] == before
    open_pipeline(page, again, "breast-cancer")
    switch = page.get_by_role("switch", name="toggle At 02:15 AM")
    switch.wait_for()
    assert switch.get_attribute("data-state") == "unchecked"
    open_pipeline(page, again, "digits")
    page.get_by_role("link", name="digits: first training").first.wait_for()
    page.goto(f"{again.mlflow}/#/models/digits/versions/1")
    page.get_by_text(re.compile(r"^@\s*champion$")).first.wait_for()


def test_no_page_calls_anybody_else(requests: set[str]) -> None:
    assert requests - {""} == {"127.0.0.1"}


@pytest.mark.slow
def test_a_comparison_from_the_form_ranks_the_pipelines(
    page: Any,
    stack_at: Callable[..., Any],
    tmp_path: Path,
    data_dir: str | None,
    real_data: Callable[[str], Path],
) -> None:
    real_data("telco-churn")
    place = {"ROUNDHOUSE_DATA_DIR": data_dir} if data_dir else {}
    stack = stack_at(tmp_path / "home", **place)
    open_pipeline(page, stack, "compare")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    assert page.get_by_label("pipeline", exact=True).input_value() == "churn"
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("View run").click()
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=RUN_SECONDS * 1000)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("compare-churn").first.wait_for()
