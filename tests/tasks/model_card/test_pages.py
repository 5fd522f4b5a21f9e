"""A card as a page and as text: nothing in the data acts, and nothing is fetched."""

import html.parser
import io
import re

import pytest

from tasks.model_card.document import (
    Bar,
    Card,
    Code,
    Facts,
    Interval,
    Link,
    Notes,
    Pictures,
    Section,
    Table,
)
from tasks.model_card.html import as_page, place
from tasks.model_card.markdown import section_text, whole_card
from tasks.storage import Storage

EVIL = '<script>alert("x")</script>|`*_[a](javascript:b)'


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its tags, what they fetch, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for name, v in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def storage(context):
    return Storage(context.storage_uri)


@pytest.fixture
def card(storage):
    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (40, 30)).save(png, "PNG")
    blocks = (
        Facts(((EVIL, EVIL), ("Code", Code(EVIL)), ("Run", (Link(EVIL, "http://a.b/"), EVIL)))),
        Table(
            ("Metric", EVIL, "Interval", "Loss"),
            ((EVIL, "1", Interval(0.5, 0.25, 0.75, (0, 1), 0.6), Bar(EVIL, 0.5)),),
            strong=1,
        ),
        Notes((EVIL, "b"), ("passed", "failed")),
        Notes((EVIL,)),
        Pictures({f"{EVIL}.png": storage.put_bytes(png.getvalue(), ".png")}),
    )
    return Card(
        name=EVIL, version=3, subtitle=EVIL, promoted=False, verdict=EVIL,
        figures=((EVIL, EVIL, EVIL),), sections=(Section("first", EVIL, blocks),),
        page="http://a.b/", made="today",
    )  # fmt: skip


def test_nothing_that_is_in_the_data_acts_in_the_page(card, storage):
    page = Page(as_page(card, storage))
    assert "script" not in page.tags
    assert EVIL in page.text
    assert {address for address in page.addresses if not address.startswith("data:image/png")} == {
        "http://a.b/", "#first",
    }  # fmt: skip
    assert "default-src 'none'" in as_page(card, storage)


def test_the_page_has_its_pictures_inside_and_draws_its_intervals(card, storage):
    shown = as_page(card, storage)
    assert 'width="40" height="30"' in shown
    # the half of the scale, within its margins
    assert 'cx="50.0%"' in shown
    assert 'x1="26.0%" x2="74.0%"' in shown
    assert '<rect width="50.0%"' in shown


def test_what_is_beyond_a_scale_is_drawn_at_its_end():
    assert (place(-1, (0, 1)), place(2, (0, 1))) == ("2.0%", "98.0%")


def test_nothing_that_is_in_the_data_acts_in_the_text(card):
    text = whole_card(card)
    # what stands as code is shown letter by letter
    plain = re.sub(r"`[^`]*`", "", text.replace(r"\`", ""))
    assert "<script" not in plain
    assert not re.search(r"(?<!\\)\]\(javascript", plain)
    table = [line for line in section_text(card.sections[0], "##").splitlines() if "|" in line]
    cells = [line.replace(r"\|", "").count("|") for line in table if line.startswith("|")]
    assert cells == [5, 5, 5]
    assert r"- ✓ &lt;script&gt;" in text
