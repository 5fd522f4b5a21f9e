"""The two secret keys: one encrypts what is stored, by one identifiers are hashed.

They are read from the environment where they are needed, since whatever the stages hand on is kept.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from tasks.errors import ConfigError
from tasks.stores import disk_errors

STORAGE_KEY, PRIVACY_KEY = "ROUNDHOUSE_STORAGE_KEY", "ROUNDHOUSE_PRIVACY_KEY"
KEY_BYTES = 32
EXPECTED = (
    f"expected {KEY_BYTES} random bytes as {2 * KEY_BYTES} hexadecimal digits or in Base64, as "
    "`openssl rand -hex 32` prints them"
)


def decode_key(text: str) -> bytes:
    """A key from its text.

    Args:
        text: 32 bytes as 64 hexadecimal digits, or in Base64 of either alphabet (RFC 4648).

    Raises:
        ValueError: It is neither; the message does not quote it.
    """
    text = text.strip()
    with contextlib.suppress(ValueError):
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        standard = text.replace("-", "+").replace("_", "/").rstrip("=")
        key = base64.b64decode(f"{standard}=", validate=True)
        if len(key) == KEY_BYTES:
            return key
    raise ValueError(f"a text of {len(text)} characters came; {EXPECTED}")


def key_id(key: bytes, purpose: str) -> str:
    """What tells a key from another and gives nothing of it away: 16 hexadecimal digits.

    Args:
        key: The key; as it is random, its HMAC (RFC 2104) cannot be searched for.
        purpose: What it is for; another purpose gives another id.
    """
    return hmac.digest(key, f"roundhouse {purpose}".encode(), hashlib.sha256).hex()[:16]


def storage_key() -> bytes | None:
    """The key that stored files are encrypted with; None where none is set.

    Raises:
        ConfigError: ROUNDHOUSE_STORAGE_KEY holds no key.
    """
    return _from_environment(STORAGE_KEY)


def privacy_key(home: Path, *, shared: bool = False) -> bytes:
    """The key that personal identifiers are hashed by: the variable's, or else the home's own.

    The home's is made at its first use, readable by its owner only, and is nowhere else.

    Args:
        home: Folder of the home, made if it is not there.
        shared: What is stored is for several machines, of which each would make another key.

    Raises:
        ConfigError: ROUNDHOUSE_PRIVACY_KEY is no key, or has to be set; or the home's is damaged.
    """
    if key := _from_environment(PRIVACY_KEY):
        return key
    if shared:
        raise ConfigError(
            f"{PRIVACY_KEY} is not set, and the storage is shared by several machines, of which "
            f"each would hash by another key; {EXPECTED}. Set the same one on all of them."
        )
    path = home / "privacy.key"
    if not path.is_file():
        with disk_errors(str(home)):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
    try:
        return decode_key(path.read_text())
    except (ValueError, OSError):
        raise ConfigError(
            f"{path} cannot be read as a key; {EXPECTED}. Restore it, or set {PRIVACY_KEY}; "
            "without it, hashes of before cannot be made again."
        ) from None


def without_keys(variables: dict[str, str]) -> dict[str, str]:
    """An environment for a process that neither reads stored files nor hashes.

    Args:
        variables: The environment of this one.
    """
    secret = {STORAGE_KEY, PRIVACY_KEY}
    return {name: value for name, value in variables.items() if name.upper() not in secret}


def hidden(text: str) -> str:
    """A text without the keys that the environment holds.

    Args:
        text: Of a log or a traceback.
    """
    for name in (STORAGE_KEY, PRIVACY_KEY):
        if value := _variable(name):
            text = text.replace(value, "...")
    return text


def _from_environment(name: str) -> bytes | None:
    text = _variable(name)
    if not text:
        return None
    try:
        return decode_key(text)
    except ValueError as error:
        raise ConfigError(f"What {name} holds will not do: {error}. Correct or unset it.") from None


def _variable(name: str) -> str:
    """A variable by its name in any case, as the settings read theirs."""
    found = (value for key, value in os.environ.items() if key.upper() == name)
    return next(found, "").strip()


def _make(path: Path) -> None:
    """Writes a new key; of two processes at once, the first one's stays."""
    aside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(f"{secrets.token_hex(KEY_BYTES)}\n")
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            # unlike a rename, a link takes nothing's place
            path.hardlink_to(aside)
    finally:
        aside.unlink(missing_ok=True)
