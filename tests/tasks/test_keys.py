import base64
import secrets
import stat
from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.keys import decode_key, hidden, key_id, privacy_key, storage_key, without_keys
from tasks.settings import load_settings

KEY = bytes(range(200, 232))


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode(),
        base64.b64encode(KEY).decode().rstrip("="),
        f" {KEY.hex()}\n",
    ],
)
def test_a_key_is_read_in_any_usual_form(text: str) -> None:
    assert decode_key(text) == KEY


@pytest.mark.parametrize("text", ["hush-hush", KEY.hex()[:-1], KEY.hex()[:-1] + "g", "é" * 64])
@pytest.mark.parametrize("name", ["ROUNDHOUSE_STORAGE_KEY", "ROUNDHOUSE_PRIVACY_KEY"])
def test_what_is_no_key_is_refused_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, name: str
) -> None:
    monkeypatch.setenv(name, text)
    read = storage_key if "STORAGE" in name else lambda: privacy_key(tmp_path)
    for attempt in (read, load_settings):
        with pytest.raises(ConfigError, match=rf"What {name} holds .*32 random bytes") as refused:
            attempt()
        assert text not in str(refused.value)


def test_settings_never_show_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("roundhouse_storage_key", KEY.hex())
    assert storage_key() == KEY
    settings = load_settings()
    assert settings.storage_key
    assert KEY.hex() not in f"{settings!r}{settings.model_dump()}"
    assert hidden(f"the key {KEY.hex()} leaks") == "the key ... leaks"
    assert without_keys({"roundhouse_storage_key": "x", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_the_home_makes_its_own_key_once_for_its_owner_only(tmp_path: Path) -> None:
    made = privacy_key(tmp_path)
    assert privacy_key(tmp_path) == made
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_key_of_a_team_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROUNDHOUSE_PRIVACY_KEY", KEY.hex())
    assert privacy_key(tmp_path, shared=True) == KEY
    assert list(tmp_path.iterdir()) == []


def test_a_shared_storage_needs_the_key_of_the_team(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ROUNDHOUSE_PRIVACY_KEY is not set.*several machines"):
        privacy_key(tmp_path, shared=True)


def test_a_damaged_key_of_the_home_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "privacy.key").write_text("half")
    with pytest.raises(ConfigError, match=r"privacy.key cannot be read as a key.*Restore it"):
        privacy_key(tmp_path)


def test_an_id_tells_keys_and_purposes_apart() -> None:
    ids = {key_id(key, purpose) for key in (KEY, secrets.token_bytes(32)) for purpose in "ab"}
    assert len(ids) == 4
