import re

import pandas as pd

from data_checks.profile import STATISTICS
from data_checks.runner import run_checks


def digits(**columns: object) -> pd.DataFrame:
    """Statistics of 400 digits that pass every check, but for replaced columns."""
    frame = pd.DataFrame({f"image_{name}": [4.0] * 400 for name in STATISTICS})
    labels = pd.Series([str(row % 10) for row in range(400)], dtype="str")
    return frame.assign(image_maximum=16, image_copies=0, digit=labels).assign(**columns)


def test_the_page_says_how_it_went_and_what_was_checked() -> None:
    _, page = run_checks(digits(), "digits")
    assert "12 of 12 data checks of &#x27;digits&#x27; passed on 400 rows" in page
    assert "range/image_maximum: expected pixels from 0 to 16" in page
    assert page.count("fa-check-circle text-success") == 12


def test_the_page_lists_the_failures_first() -> None:
    _, page = run_checks(digits(image_maximum=99), "digits")
    assert page.index('<b class="error">error</b>') < page.index("Table-Level")
    assert "400 of 400 rows (100 %) do not fit" in page


def test_the_page_needs_no_network_and_no_scripts() -> None:
    _, page = run_checks(digits(image_maximum=99), "digits")
    assert not re.search(r"<script|<link|<img|https?://|@import|url\(", page)
    assert "default-src 'none'" in page


def test_markup_in_the_data_stays_text() -> None:
    frame = digits()
    frame.loc[0, "digit"] = "<b onclick=steal()>"
    report, page = run_checks(frame.rename(columns={"image_std": "<i>std"}), "digits")
    assert "<b onclick=steal()>" in report.summary()
    assert "<b onclick" not in page
    assert "<i>std" not in page


def test_the_same_data_give_the_same_bytes() -> None:
    assert run_checks(digits(image_maximum=99), "digits") == run_checks(
        digits(image_maximum=99), "digits"
    )
