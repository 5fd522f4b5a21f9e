import pytest

from tasks.history import (
    CHAMPION,
    HEADING,
    PREVIOUS,
    REASON_LENGTH,
    Change,
    Move,
    Mover,
    aliases_after,
    bounded,
    champions,
    described,
    moves_in,
    tag_of,
    withdrawn,
)

ANN = Mover(by="ann on roundhouse", run_id="0123456789abcdef", page="http://x/runs/1")


def moves(*kinds_and_versions):
    """Champions one after the other, each by its kind: ("gate", 1), ("rollback", 1), ..."""
    made, champion = [], None
    for number, (kind, version) in enumerate(kinds_and_versions, start=1):
        change = Change(alias=CHAMPION, before=champion, after=version)
        made.append(
            Move(
                number=number,
                kind=kind,
                version=version or 0,
                changes=(change,),
                mover=ANN,
                why=f"reason {number}",
                at="2026-01-02T03:04:05+00:00",
                completed="2026",
            )
        )
        champion = version
    return tuple(made)


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ([("gate", 1), ("gate", 2), ("gate", 3)], (1, 2, 3)),
        ([("gate", 1), ("gate", 2), ("gate", 3), ("rollback", 2)], (1, 2)),
        ([("gate", 1), ("gate", 2), ("gate", 3), ("rollback", 2), ("rollback", 1)], (1,)),
        ([("gate", 1), ("gate", 2), ("gate", 3), ("rollback", 1)], (1,)),
        ([("gate", 1), ("gate", 2), ("rollback", 1), ("person", 2)], (1, 2)),
        ([("gate", 2), ("gate", 3), ("person", 2), ("rollback", 3)], (3,)),
        ([("gate", 1), ("gate", 2), ("outside", 1)], (1,)),
        ([("gate", 1), ("gate", 2), ("outside", None), ("gate", 3)], (1, 2, 3)),
    ],
)
def test_going_back_leaves_the_line_as_it_was_before(steps, line):
    assert champions(moves(*steps)) == line


def test_champions_from_before_there_were_records_are_a_line():
    changes = (
        Change(alias=PREVIOUS, before=None, after=4),
        Change(alias=CHAMPION, before=None, after=7),
    )
    first = moves(("outside", 7))[0].model_copy(update={"changes": changes})
    assert champions((first,)) == (4, 7)


@pytest.mark.parametrize("kind", ["rollback", "person", "outside"])
def test_what_somebody_replaced_is_withdrawn_until_somebody_puts_it_back(kind):
    taken = moves(("gate", 1), ("gate", 2), (kind, 1))
    assert withdrawn(taken) == {2: taken[-1]}
    assert 2 not in withdrawn(moves(("gate", 1), ("gate", 2), (kind, 1), ("person", 2)))


def test_what_the_gate_replaced_is_not_withdrawn():
    assert withdrawn(moves(("gate", 1), ("gate", 2), ("gate", 3))) == {}


def test_records_are_kept_in_order_in_tags_that_mlflow_takes():
    made = moves(*[("gate", number) for number in range(1, 13)])
    long = made[-1].model_copy(update={"why": bounded("word | " * 3000)})
    assert len(long.why) == REASON_LENGTH
    tags = {"other": "x"}
    for move in (long, *made[:-1]):
        tags |= tag_of(move)
    assert moves_in(tags) == (*made[:-1], long)
    assert max(len(value) for value in tags.values()) < 5000
    assert aliases_after(made) == {CHAMPION: 12}


def test_the_page_shows_the_newest_moves_and_keeps_what_people_wrote():
    text = "Models of **digits**.\n\n```python\nmodel.predict(rows)\n```"
    page = described(text, moves(*[("gate", number) for number in range(1, 13)]))
    assert page.startswith(text)
    rows = [line for line in page.splitlines() if line.startswith("| 2026")]
    assert len(rows) == 10
    assert "champion v11 → v12" in rows[0]
    assert "ann on roundhouse, run 01234567, [Prefect run](http://x/runs/1)" in rows[0]
    assert "2 older: `roundhouse history`." in page
    edited = f"{page}\n### Ours\n\nAsk Ann.\n"
    again = described(edited, moves(("gate", 1), ("rollback", 2)))
    assert again.count(HEADING) == 1
    assert "| 2026-01-02 03:04 | champion v1 → v2 (rollback) |" in again
    assert again.endswith("### Ours\n\nAsk Ann.\n")
    assert described(again, moves(("gate", 1), ("rollback", 2))) == again
