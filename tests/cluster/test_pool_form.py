"""The form of the work pool for Jobs, in the pages of a real Prefect server."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from infra.clusters.delivery import ensure_cluster_pool
from infra.clusters.profiles import load_profiles
from infra.clusters.template import base_job_template
from infra.deployment import prefect_client
from tasks.settings import Settings
from tests.cluster.clicking import BROWSER

pytestmark = [pytest.mark.cluster, pytest.mark.browser]
SCREENSHOTS = os.environ.get("SCREENSHOTS")
POOL, WIDTH = "kubernetes", 1100
# of the whole page, what a pipeline's block asks for
PICTURED = {"x": 256, "y": 480, "width": WIDTH - 256, "height": 1000}


@pytest.fixture(scope="module")
def stack(stack_at: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stack with digits in the pool that `roundhouse deploy --target kubernetes` makes."""
    stack = stack_at(tmp_path_factory.mktemp("form") / "home")
    given: Any = {"ROUNDHOUSE_PREFECT_API_URL": f"{stack.prefect}/api"}
    settings = Settings(**given, image="registry.example.org/roundhouse:1.2.3", pool=POOL)
    template = base_job_template(settings, load_profiles(settings))
    # what a command sets for its own process is not for the tests that come after
    with patch.dict(os.environ), prefect_client(settings) as client:
        ensure_cluster_pool(client, POOL, settings, template=as_kept(template), own=POOL, kept=[])
    done = stack.command("deploy", "digits", "--pool", POOL)
    assert done.returncode == 0, done.stderr
    return stack


def as_kept(value: Any) -> Any:
    """JSON with its keys in the order in which PostgreSQL gives them: the short ones first."""
    if isinstance(value, list):
        return [as_kept(item) for item in value]
    if isinstance(value, dict):
        return {key: as_kept(value[key]) for key in sorted(value, key=lambda k: (len(k), k))}
    return value


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """A window of headless Chromium."""
    if BROWSER is None:
        pytest.skip("needs Chromium on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # a test run as root has no sandbox to put the browser in
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened = browser.new_context(viewport={"width": WIDTH, "height": 1000})
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()


@pytest.fixture
def form(window: Any, stack: Any) -> Iterator[Any]:
    """The page on which the pool is edited: Work Pools, its name, Edit."""
    page = window.new_page()
    page.goto(stack.prefect)
    page.get_by_role("link", name="Work Pools", exact=True).click()
    page.get_by_role("link", name=POOL, exact=True).first.click()
    page.wait_for_url(re.compile(f"work-pool/{POOL}"))
    page.goto(f"{page.url.partition('?')[0]}/edit")
    page.get_by_text("Image pull policy").first.wait_for()
    yield page
    page.close()


def test_every_variable_has_a_field_with_words_that_fits_it(form: Any, stack: Any) -> None:
    variables = stack.ask(f"work_pools/{POOL}")["base_job_template"]["variables"]["properties"]
    text = form.inner_text("main")
    labels = [f"{variables[name]['title']} (Optional)" for name in by_position(variables)]
    places = [text.find(f"\n{label}\n") for label in labels]
    assert -1 not in places
    assert places == sorted(places)
    for name, schema in variables.items():
        assert schema["description"] in text, name
        if schema["type"] == "integer":
            field = form.get_by_label(f"{schema['title']} (Optional)", exact=True)
            bounds = [field.get_attribute(name) for name in ("type", "min", "max")]
            assert bounds == ["number", str(schema["minimum"]), str(schema["maximum"])], name
    assert form.get_by_label("Select Image pull policy").count() == 1
    # what has keys of one's own choice is JSON in Prefect's pages, and nothing else is
    free = [name for name, schema in variables.items() if schema.get("additionalProperties")]
    assert sorted(free) == ["annotations", "env", "labels"]
    assert form.locator(".cm-editor").count() == len(free)
    assert form.evaluate("document.documentElement.scrollWidth") <= WIDTH
    if SCREENSHOTS:
        form.screenshot(path=Path(SCREENSHOTS) / "pool.png", full_page=True, clip=PICTURED)


def by_position(variables: dict[str, Any]) -> list[str]:
    return sorted(variables, key=lambda name: variables[name]["position"])


def test_a_value_out_of_bounds_is_not_saved_and_one_within_is(form: Any, stack: Any) -> None:
    gpus = form.get_by_label("GPUs (Optional)", exact=True)
    gpus.fill("17")
    form.get_by_role("button", name="Save").click()
    assert "less than or equal to 16" in gpus.evaluate("field => field.validationMessage")
    gpus.fill("2")
    form.get_by_role("button", name="Save").click()
    form.get_by_text("Work pool updated").wait_for()
    variables = stack.ask(f"work_pools/{POOL}")["base_job_template"]["variables"]
    assert variables["properties"]["gpus"]["default"] == 2
    assert variables["properties"]["memory_limit"]["default"] == "4Gi"


@pytest.mark.parametrize(("name", "value"), [("gpus", 17), ("memory_limit", "16GB")])
def test_a_custom_run_with_a_wrong_job_variable_is_refused(
    window: Any, stack: Any, name: str, value: object
) -> None:
    page = window.new_page()
    page.goto(stack.prefect)
    page.get_by_role("link", name="Deployments", exact=True).click()
    page.get_by_role("link", name="digits", exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_text("Additional Options").first.click()
    page.get_by_text("Job Variables (Optional)").wait_for()
    page.locator(".cm-content").last.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(json.dumps({name: value}))
    page.get_by_role("button", name="Submit").click()
    page.get_by_text(f"Validation failed for field '{name}'").first.wait_for()
    assert stack.runs() == []
    page.close()
