import io
import secrets
from pathlib import Path

import pytest

from tasks import encryption
from tasks.encryption import Cipher, encrypted_size, is_encrypted
from tasks.errors import StorageError

KEY = bytes(32)
CHUNK = 64


@pytest.fixture
def cipher(monkeypatch: pytest.MonkeyPatch) -> Cipher:
    """With chunks of 64 bytes."""
    monkeypatch.setattr(encryption, "CHUNK_BYTES", CHUNK)
    return Cipher(KEY)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK])
def test_what_is_encrypted_comes_back(cipher: Cipher, size: int) -> None:
    content = secrets.token_bytes(size)
    hidden = cipher.encrypt_bytes(content)
    assert is_encrypted(hidden)
    assert len(hidden) == encrypted_size(size)
    assert cipher.decrypt_bytes(hidden, "it") == content


def test_nothing_of_the_content_shows(cipher: Cipher) -> None:
    content = b"Ada Lovelace, +44 20 7946 0018" * 5
    first, again = cipher.encrypt_bytes(content), cipher.encrypt_bytes(content)
    assert first != again
    assert all(content[i : i + 6] not in first for i in range(len(content) - 6))


def damaged(hidden: bytes, how: str) -> bytes:
    head, chunk = encryption.HEAD_BYTES, CHUNK + encryption.TAG_BYTES
    if how == "turned":
        return hidden[:-1] + bytes([hidden[-1] ^ 1])
    if how == "salted":
        return hidden[: head - 1] + bytes([hidden[head - 1] ^ 1]) + hidden[head:]
    if how == "cut":
        return hidden[: head + chunk]
    if how == "swapped":
        first, second = hidden[head : head + chunk], hidden[head + chunk : head + 2 * chunk]
        return hidden[:head] + second + first + hidden[head + 2 * chunk :]
    return hidden + hidden[-chunk:] if how == "longer" else b"short"


@pytest.mark.parametrize("how", ["turned", "salted", "cut", "swapped", "longer", "short"])
def test_what_was_changed_does_not_open(cipher: Cipher, how: str) -> None:
    hidden = damaged(cipher.encrypt_bytes(b"x" * 3 * CHUNK), how)
    target = io.BytesIO()
    with pytest.raises(StorageError, match=r"file it was changed or cut short.*not authentic"):
        cipher.decrypt(io.BytesIO(hidden), target, "it")
    assert set(target.getvalue()) <= set(b"x")


def test_another_key_does_not_open_it(cipher: Cipher) -> None:
    hidden = cipher.encrypt_bytes(b"rows")
    with pytest.raises(StorageError, match=rf"it is encrypted .* id is {cipher.key_id}.*holds"):
        Cipher(secrets.token_bytes(32)).decrypt_bytes(hidden, "it")


def test_a_file_is_encrypted_chunk_by_chunk(cipher: Cipher, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows" * 100)
    cipher.encrypt_file(tmp_path / "rows", tmp_path / "hidden")
    assert cipher.decrypt_bytes((tmp_path / "hidden").read_bytes(), "it") == b"rows" * 100
    assert repr(cipher) == f"Cipher({cipher.key_id})"
