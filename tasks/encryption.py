"""Files that only the holder of a key can read: AES-256-GCM in chunks, so memory stays bounded.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, 2015,
https://eprint.iacr.org/2015/189) as age uses it: each file has a key of its own, derived by
HKDF-SHA256 (RFC 5869) from the given one and a random salt; the nonce of a chunk is its number and
whether it is the last, so none can be changed, left out, moved or cut off unnoticed.

    magic, 8 bytes of the key's id, 32 bytes of salt, then chunks of 1 MiB and 16 bytes each
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tasks.errors import StorageError
from tasks.keys import STORAGE_KEY, key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"roundhouse encrypted 1\n"
ID_BYTES, SALT_BYTES, TAG_BYTES = 8, 32, 16
HEAD_BYTES = len(MAGIC) + ID_BYTES + SALT_BYTES
CHUNK_BYTES = 1 << 20


def is_encrypted(content: bytes) -> bool:
    """Whether bytes begin as those that a cipher wrote."""
    return content.startswith(MAGIC)


def encrypted_size(size: int) -> int:
    """Bytes that so many become.

    Args:
        size: Bytes before.
    """
    chunks = max(1, -(-size // CHUNK_BYTES))
    return HEAD_BYTES + size + chunks * TAG_BYTES


class Cipher:
    """Encrypts and decrypts with one key.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.key_id = key_id(key, "storage")

    def __repr__(self) -> str:
        return f"Cipher({self.key_id})"

    def encrypt(self, source: BinaryIO, target: BinaryIO) -> None:
        """Encrypts all that is left in a stream into another.

        Args:
            source: What is to be hidden.
            target: Where its hidden form goes.
        """
        salt = os.urandom(SALT_BYTES)
        head = MAGIC + bytes.fromhex(self.key_id) + salt
        aead = self._aead(salt)
        target.write(head)
        number, chunk = 0, source.read(CHUNK_BYTES)
        while True:
            following = source.read(CHUNK_BYTES)
            target.write(aead.encrypt(_nonce(number, is_last=not following), chunk, head))
            if not following:
                return
            number, chunk = number + 1, following

    def encrypt_file(self, path: Path, target: Path) -> None:
        """Encrypts a file into another."""
        with path.open("rb") as source, target.open("wb") as stream:
            self.encrypt(source, stream)

    def decrypt(self, source: BinaryIO, target: BinaryIO, place: str) -> None:
        """Decrypts what `encrypt` wrote; only what is authentic is ever written.

        Args:
            source: The hidden form.
            target: Where its content goes.
            place: What messages call it.

        Raises:
            StorageError: Another key wrote it, or it was changed or cut short.
        """
        from cryptography.exceptions import InvalidTag

        head = source.read(HEAD_BYTES)
        written_by = head[len(MAGIC) : -SALT_BYTES].hex()
        if is_encrypted(head) and written_by != self.key_id:
            raise other_key(place, written_by, self.key_id)
        aead = self._aead(head[-SALT_BYTES:])
        number, chunk = 0, source.read(CHUNK_BYTES + TAG_BYTES)
        try:
            while True:
                following = source.read(CHUNK_BYTES + TAG_BYTES)
                target.write(aead.decrypt(_nonce(number, is_last=not following), chunk, head))
                if not following:
                    return
                number, chunk = number + 1, following
        except InvalidTag:
            raise StorageError(
                f"The encrypted file {place} was changed or cut short after it was written: its "
                f"chunk {number + 1:,} is not authentic. Delete it and run the pipeline again with "
                "--force."
            ) from None

    def encrypt_bytes(self, content: bytes) -> bytes:
        """The hidden form of bytes."""
        target = BytesIO()
        self.encrypt(BytesIO(content), target)
        return target.getvalue()

    def decrypt_bytes(self, content: bytes, place: str) -> bytes:
        """Bytes from their hidden form.

        Args:
            content: What `encrypt_bytes` gave.
            place: What messages call it.

        Raises:
            StorageError: Another key wrote it, or it was changed or cut short.
        """
        target = BytesIO()
        self.decrypt(BytesIO(content), target, place)
        return target.getvalue()

    def _aead(self, salt: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(SHA256(), length=32, salt=salt, info=b"roundhouse stored file")
        return AESGCM(derived.derive(self._key))


def other_key(place: str, written_by: str, given: str) -> StorageError:
    """Says that a storage or a file needs another key than the one at hand.

    Args:
        place: What cannot be opened.
        written_by: Id of the key that it needs.
        given: Id of the key at hand; empty where there is none.
    """
    came = f"{STORAGE_KEY} holds the key {given}" if given else f"{STORAGE_KEY} is not set"
    return StorageError(
        f"{place} is encrypted with the key whose id is {written_by}, and {came}. Set "
        f"{STORAGE_KEY} to the key that it was written with; without it nothing in it opens."
    )


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes((is_last,))
