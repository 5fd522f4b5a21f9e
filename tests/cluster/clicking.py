"""The Run button of the Prefect pages, pressed by a browser."""

import base64
import re
import shutil
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
MILLISECONDS = 60_000


def click_run(stack: Any, pipeline: str, user: str, password: str) -> str:
    """Runs a pipeline as people do: Deployments, its name, Run, Custom run, Submit.

    Args:
        stack: The servers.
        pipeline: Name of the deployment.
        user: Who is signed in.
        password: Their password.

    Returns:
        The id of the run, from the address of its page.
    """
    from playwright.sync_api import sync_playwright

    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    with sync_playwright() as playwright:
        # a test run as root has no sandbox to put the browser in
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.add_init_script(f"localStorage.setItem('prefect-password', '{pair}')")
        page.goto(stack.prefect)
        page.get_by_role("link", name="Deployments", exact=True).click()
        page.get_by_role("link", name=pipeline, exact=True).first.click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Custom run").click()
        page.get_by_role("button", name="Submit").click()
        page.get_by_text("View run").click()
        page.wait_for_url(re.compile(r"flow-run/[0-9a-f-]{36}"))
        found = re.search(r"flow-run/([0-9a-f-]{36})", page.url)
        browser.close()
    assert found
    return found[1]
