"""Content-addressed files in a store, encrypted where a key is set.

Same bytes, same address; stored files are read-only and never changed in place. Records are the one
thing that is found by name: small JSON values, replaced as a whole.

With ROUNDHOUSE_STORAGE_KEY set, whatever is written is encrypted, records and unfinished work
included, and nothing else is ever under the root; readers are given a copy of their own, which goes
with their process. The digest in a name stays that of the content: who holds the very same file can
tell that it is there.
"""

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.encryption import Cipher, encrypted_size, is_encrypted, other_key
from tasks.errors import StorageError
from tasks.handoffs import Arrays, StoredFile
from tasks.keys import storage_key
from tasks.scratch import private_folder, process_folder, scratch_folder
from tasks.stores import Store, disk_errors, written_aside

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENCRYPTED = ".encrypted"
logger = logging.getLogger(__name__)


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes, hexadecimal, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Storage:
    """Files and records under one root.

    Args:
        uri: The root: a folder, or an fsspec address such as `s3://bucket/prefix`.

    Raises:
        ConfigError: ROUNDHOUSE_STORAGE_KEY holds no key.
    """

    def __init__(self, uri: str) -> None:
        self._store = Store(uri)
        self.uri, self.is_local = self._store.uri, self._store.is_local
        key = storage_key()
        self._cipher = Cipher(key) if key else None

    def put_bytes(self, content: bytes, suffix: str = "") -> StoredFile:
        """Stores bytes and returns where they are; storing the same again writes nothing.

        Raises:
            StorageError: They cannot be written, or what is there needs another key.
            ServiceError: The storage does not answer.
        """
        digest = hashlib.sha256(content).hexdigest()
        stored = self._stored(digest, suffix, len(content))
        if not self.has(stored):
            kept = self._cipher.encrypt_bytes(content) if self._cipher else content
            self._store.write(stored.uri, kept, read_only=True)
        return stored

    def put_file(self, path: Path, suffix: str | None = None) -> StoredFile:
        """Stores a copy of a file and returns where it is."""
        suffix = path.suffix if suffix is None else suffix
        stored = self._stored(file_sha256(path), suffix, path.stat().st_size)
        if not self.has(stored):
            self._store.copy_in(path, stored.uri, read_only=True, copy=self._encrypted_copy)
        return stored

    def path(self, stored: StoredFile) -> Path:
        """A local path to a stored file: the file itself where it is local and not encrypted.

        Else a copy that only this user can read; one of an encrypted file is removed when this
        process ends.

        Raises:
            StorageError: The file is gone, its bytes are not what was stored, or the key is missing
                or another one.
            ServiceError: The storage does not answer.
        """
        stored = self.own(stored)
        # Keras tells a file's kind by its suffix, of which the digest has none
        name = stored.uri.rpartition("/")[2].removesuffix(ENCRYPTED)
        is_hidden = stored.uri.endswith(ENCRYPTED)
        if not is_hidden and self._cipher:
            _tell_plain(self.uri)
        copy = None if self.is_local and not is_hidden else self._folder(is_hidden) / name
        if copy is not None and copy.is_file() and file_sha256(copy) == stored.sha256:
            return copy
        if not self._is_complete(stored):
            if self._is_complete(other := _other_form(stored)):
                return self.path(other)
            raise StorageError(
                f"The stored file {stored.uri} is missing or cut short; expected {stored.size} "
                "bytes. Run the pipeline again with --force to make it anew."
            )
        return Path(stored.uri) if copy is None else self._fetched(stored, copy)

    def read_bytes(self, stored: StoredFile) -> bytes:
        """The bytes of a stored file, checked against its digest."""
        content = self.path(stored).read_bytes()
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise StorageError(
                f"The stored file {stored.uri} was changed after it was written; expected sha256 "
                f"{stored.sha256}. Delete it and run the pipeline again with --force."
            )
        return content

    def array(self, stored: StoredFile, *, is_mapped: bool = False) -> "NDArray[Any]":
        """The array of a stored .npy; one that `is_mapped` is read-only and stays in the file."""
        import numpy as np

        mode: Literal["r"] | None = "r" if is_mapped else None
        array: NDArray[Any] = np.load(self.path(stored), mmap_mode=mode, allow_pickle=False)
        return array

    def inputs_and_labels(self, side: Arrays) -> "tuple[NDArray[Any], NDArray[Any]]":
        """What a model is given of a side's rows and what it is to answer, both mapped."""
        inputs, labels = (self.array(file, is_mapped=True) for file in (side.inputs, side.labels))
        return inputs, labels

    def has(self, stored: StoredFile) -> bool:
        """Whether a stored file is there in full, and encrypted if there is a key."""
        stored = self.own(stored)
        is_hidden = stored.uri.endswith(ENCRYPTED)
        return is_hidden == bool(self._cipher) and self._is_complete(stored)

    def can_read(self, stored: StoredFile) -> bool:
        """Whether a stored file is there in full, encrypted or not."""
        stored = self.own(stored)
        return self._is_complete(stored) or self._is_complete(_other_form(stored))

    def own(self, stored: StoredFile) -> StoredFile:
        """The same bytes at their address in this storage, which may have moved since."""
        suffix = stored.uri.rpartition("/")[2].removeprefix(stored.sha256)
        address = self._store.address(f"content/{stored.sha256[:2]}/{stored.sha256}{suffix}")
        return stored.model_copy(update={"uri": address})

    def write_record(self, name: str, content: str) -> None:
        """Writes or replaces a record."""
        self._require_key()
        kept = content.encode()
        if self._cipher:
            kept = self._cipher.encrypt_bytes(kept)
        self._store.write(self._store.address(f"records/{name}.json"), kept)

    def read_record(self, name: str) -> str | None:
        """A record's content; None where there is none."""
        self._require_key()
        address = self._store.address(f"records/{name}.json")
        content = self._store.read(address)
        if content is not None and is_encrypted(content):
            content = self._opener(address).decrypt_bytes(content, address)
        return None if content is None else content.decode()

    def named_path(self, name: str) -> Path:
        """Where a file that changes until it is finished lies on this machine, if it is there.

        A local storage's own file, otherwise a copy, fetched now. Whoever changes it writes aside
        and renames, then calls `publish_named`.
        """
        self._require_key()
        if self._works_in_place:
            return self._store.root / "unfinished" / name
        place = hashlib.sha256(self.uri.encode()).hexdigest()
        local = self._folder(bool(self._cipher)) / place / name
        address = self._named_address(name)
        if self._store.size(address) is not None:
            local.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with written_aside(local, private_folder()) as aside:
                self._copy_out(address, aside)
        return local

    def publish_named(self, name: str, path: Path) -> None:
        """Sends a changed named file to the storage, unless that is where it was changed."""
        if self._works_in_place:
            return
        address = self._named_address(name)
        self._store.copy_in(path, address, copy=self._encrypted_copy)

    def delete_named(self, name: str, path: Path) -> None:
        """Forgets a named file, here and in the storage, and what was written aside of it."""
        path.unlink(missing_ok=True)
        for aside in path.parent.glob(f"{path.name}.*"):
            aside.unlink(missing_ok=True)
        self._store.delete(self._named_address(name))

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A scratch folder, removed at the end.

        It is on the storage's own disk where that is local, and outside of it with a key.
        """
        with disk_errors(self.uri):
            parent = self._store.unfinished() if self._works_in_place else None
            with scratch_folder(parent) as folder:
                yield folder

    @property
    def _works_in_place(self) -> bool:
        return self.is_local and self._cipher is None

    def _stored(self, digest: str, suffix: str, size: int) -> StoredFile:
        """Where content is to be stored, once it is sure that it may."""
        self._require_key()
        suffix += ENCRYPTED if self._cipher else ""
        return self.own(StoredFile(uri=f"{digest}{suffix}", sha256=digest, size=size))

    def _is_complete(self, stored: StoredFile) -> bool:
        is_hidden = stored.uri.endswith(ENCRYPTED)
        return self._store.size(stored.uri) == (
            encrypted_size(stored.size) if is_hidden else stored.size
        )

    def _named_address(self, name: str) -> str:
        return self._store.address(f"unfinished/{name}{ENCRYPTED if self._cipher else ''}")

    def _folder(self, is_hidden: bool) -> Path:
        """Where copies lie: those of encrypted files only as long as this process."""
        return process_folder() if is_hidden else private_folder()

    @property
    def _encrypted_copy(self) -> Callable[[Path, Path], None] | None:
        """Copies a file into its encrypted form; None without a key."""
        return self._cipher.encrypt_file if self._cipher else None

    def _copy_out(self, address: str, target: Path) -> None:
        """Fetches a file as it was before it was stored."""
        if not address.endswith(ENCRYPTED):
            self._store.copy_out(address, target)
            return
        cipher = self._opener(address)
        with self._store.open(address) as source, target.open("wb") as stream:
            cipher.decrypt(source, stream, address)

    def _fetched(self, stored: StoredFile, target: Path) -> Path:
        with written_aside(target, private_folder()) as aside:
            self._copy_out(stored.uri, aside)
            if file_sha256(aside) != stored.sha256:
                raise StorageError(
                    f"The stored file {stored.uri} is not what was written; expected sha256 "
                    f"{stored.sha256}. Run the pipeline again with --force to make it anew."
                )
        return target

    def _opener(self, address: str) -> Cipher:
        self._require_key()
        if self._cipher is None:
            raise other_key(address, "unknown", "")
        return self._cipher

    def _require_key(self) -> None:
        """Refuses to write beside what another key, or a key at all, has encrypted.

        A run that forgot the key would else store anew, for all to read, what was hidden.

        Raises:
            StorageError: The storage was written with a key, and that is not the one at hand.
        """
        given = self._cipher.key_id if self._cipher else ""
        if (self.uri, given) in _settled:
            return
        address = self._store.address("encryption")
        written = self._store.read(address)
        if written is None and given:
            self._store.write(address, given.encode())
        elif written is not None and written.decode() != given:
            raise other_key(f"The storage {self.uri}", written.decode(), given)
        if given or not self.is_local:
            _settled.add((self.uri, given))


def _other_form(stored: StoredFile) -> StoredFile:
    """The same bytes encrypted if they are not, and the other way round: a key may come later."""
    plain = stored.uri.removesuffix(ENCRYPTED)
    uri = plain if plain != stored.uri else f"{plain}{ENCRYPTED}"
    return stored.model_copy(update={"uri": uri})


# storages whose key is known to fit, as asking a remote one takes time
_settled: set[tuple[str, str]] = set()


@functools.cache
def _tell_plain(uri: str) -> None:
    logger.warning(
        "Some files of the storage %s were written before there was a key and are not encrypted; "
        "what is made anew is. Delete those without .encrypted in their names once no version "
        "needs them",
        uri,
    )
