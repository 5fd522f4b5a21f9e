"""What happens between data and champion, as the README tells it: its commands, its pictures."""

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.browser]
ROOT = Path(__file__).parent.parent.parent
SECTION = "## What happens between data and champion"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
# `make screenshots` names the folder whose pictures the README shows
SCREENSHOTS = os.environ.get("SCREENSHOTS")
WIDE, NARROW = 1280, 390


def commands() -> list[list[str]]:
    """The section's commands, in their order, without the name of the program."""
    section = (ROOT / "README.md").read_text().split(SECTION)[1].split("\n## ")[0]
    return [shlex.split(line) for line in re.findall(r"^\$ roundhouse (.*)$", section, re.M)]


@pytest.fixture(scope="module")
def files(
    roundhouse_at: Callable[..., Any],
    tmp_path_factory: Any,
    data_dir: str | None,
    real_data: Callable[[str], Path],
) -> Path:
    """The artefacts of a run of `income`, which has slices and groups of people."""
    real_data("adult-census")
    command = roundhouse_at(
        tmp_path_factory.mktemp("income") / "home", ROUNDHOUSE_DATA_DIR=data_dir or ""
    )
    done = command("run", "income")
    assert done.returncode == 0, done.stderr
    (run,) = command.runs("income")
    return Path(run.info.artifact_uri.removeprefix("file://"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    if BROWSER is None:
        pytest.skip("needs Chromium on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # a test run as root has no sandbox to put the browser in
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_card_is_readable_on_any_window_and_calls_nobody(
    browser: Any, files: Path, width: int, scheme: str
) -> None:
    called: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)
    page.on("request", lambda request: called.append(request.url))
    page.goto((files / "model-card.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    pictures = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert len(pictures) > 3
    assert all(pictures)
    assert page.locator("section#slices td").count() > 8
    assert [url for url in called if not url.startswith("data:")] == [called[0]]
    if SCREENSHOTS and (width, scheme) == (WIDE, "light"):
        page.screenshot(path=Path(SCREENSHOTS) / "card.png")
    page.close()


def test_the_pictures_of_slices_and_of_importances_are_in_the_run(files: Path) -> None:
    for name in ("slices.png", "importances.png"):
        (picture,) = files.rglob(name)
        if SCREENSHOTS:
            shutil.copyfile(picture, Path(SCREENSHOTS) / name)


def test_each_command_of_the_section_does_what_it_says(roundhouse: Any) -> None:
    for arguments in commands():
        done = roundhouse(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
    aliases = [held for *_, held in roundhouse.registry()]
    assert len(aliases) == 2
    # as good, so it took over; a person put the first back, and undid that
    assert aliases[0]["champion"] == 2
