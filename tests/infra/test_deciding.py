"""The commands by which people decide which version serves, on a home with real versions."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra import deciding
from infra.reports import status_of
from tasks import promotion, tracking
from tasks.errors import ConfigError
from tasks.handoffs import RunContext
from tasks.settings import Settings
from tests import endings
from tests.endings import end, register


@pytest.fixture
def served(context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose model `digits` has had two champions."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(context.mlflow_uri.removeprefix("sqlite:///"), home / "mlflow.db")
    settings = Settings(home=home)
    here = context.model_copy(update={"pipeline": "digits", "mlflow_uri": settings.mlflow_uri})
    monkeypatch.setattr(promotion, "compare", endings.compare)
    register(here, name="digits")
    for version in (1, 2):
        end(here, version)
    return settings


def shown(show: Any, *arguments: Any, **named: Any) -> str:
    console = Console(file=io.StringIO(), width=300)
    settings, *rest = arguments
    show(settings, console, "digits", *rest, **named)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_back_and_forth_by_command_is_said_and_in_the_history(served: Settings) -> None:
    said = shown(deciding.roll_back, served, None, "it errs [/b]")
    assert "digits: champion v2 → v1, previous v1 → none" in said
    assert "There is no champion before it to go back to." in said
    assert 'to undo this: roundhouse promote digits 2 --because "..."' in said
    by_hand = r"v1 \(rolled back by \S+ on \S+\)"
    assert re.fullmatch(by_hand, status_of("digits", "accuracy", served)[1])
    said = shown(deciding.promote, served, "v2", "mended", force=False)
    assert "digits: champion v1 → v2, previous none → v1" in said
    table = shown(deciding.show_history, served, 3)
    first, *rest = [line for line in table.splitlines() if re.match(r" *\d", line)]
    assert first.split()[0] == "4"
    assert "champion v1 → v2, previous none → v1 (by hand)" in first
    assert first.rstrip().endswith("mended")
    assert "(rollback)" in rest[0]
    assert rest[0].rstrip().endswith("it errs [/b]")
    assert "better than champion v1's" in rest[1]
    assert "1 older: --last 4" in table


def test_a_home_where_nothing_ran_has_no_model(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(ConfigError, match=r"nothing has run in .* yet.*roundhouse run digits"):
        shown(deciding.show_history, settings, 3)
    assert list(tmp_path.iterdir()) == []


def test_the_real_commands_explain_wrong_use_and_move_aliases(
    served: Settings, roundhouse_at: Any
) -> None:
    command = roundhouse_at(served.home_folder)
    refused = command("rollback", "digit")
    assert refused.returncode == 1
    assert "There is no registered model 'digit'. Did you mean 'digits'?" in refused.stderr
    missing = command("promote", "digits", "1")
    assert missing.returncode == 2
    assert "--because" in missing.stderr
    done = command("rollback", "digits", "--to", "1", "--because", "it errs")
    assert done.returncode == 0, done.stderr
    assert "champion v2 → v1" in done.stdout
    assert "it errs" in command("history", "digits").stdout
    uri = f"sqlite:///{served.home_folder / 'mlflow.db'}"
    model = tracking.client(uri).get_registered_model("digits")
    assert int(model.aliases["champion"]) == 1
