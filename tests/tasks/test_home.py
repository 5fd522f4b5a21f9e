import stat
from pathlib import Path

import pytest

from tasks.errors import ConfigError, StorageError
from tasks.home import prepare_home
from tasks.settings import Settings


def test_a_new_home_is_its_owners_alone(tmp_path: Path) -> None:
    prepare_home(Settings(home=tmp_path / "new home"))
    assert stat.S_IMODE((tmp_path / "new home").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "new home").iterdir()] == ["logs"]


@pytest.mark.parametrize("odd", "%#?")
def test_a_path_that_breaks_a_database_address_is_refused(tmp_path: Path, odd: str) -> None:
    with pytest.raises(ConfigError, match=f"has \\{odd} in its path.*ROUNDHOUSE_HOME"):
        prepare_home(Settings(home=tmp_path / f"a{odd}b"))
    assert not (tmp_path / f"a{odd}b").exists()


def test_a_home_below_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Cannot write to .*file/home: Not a directory"):
        prepare_home(Settings(home=tmp_path / "file" / "home"))
