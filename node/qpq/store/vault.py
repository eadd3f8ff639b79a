"""Keys at rest: one random data key, under a passphrase or a key file, from which all others of the disk are made.

``vault.json``, format 1 (bytes as hexadecimal digits)::

    {"format": 1, "protection": "passphrase", "passes": 4, "memory_kib": 65536,
     "salt": ..., "nonce": ..., "key": ...}
    {"format": 1, "protection": "key-file", "key_file": "/mnt/usb/qpq.key", "salt": ..., "nonce": ..., "key": ...}
    {"format": 1, "protection": "none", "key": ...}

``key`` is the data key (32 bytes) with its tag, ChaCha20-Poly1305 under Argon2id(passphrase, salt) or HKDF-SHA256 of
the key file's bytes, and all other fields are authenticated with it. Parameters are capped before any memory is asked
for. ``none`` with the bare key stands there while the protection is being taken away, so that a node that is killed
meanwhile finishes by itself. From the data key HKDF-SHA256 makes one key for identity.json, one for the message store
and one for its log on flash.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.crypto.errors import AuthenticationError, ExportError, PassphraseError
from qpq.crypto.export import DEFAULT_COST, MAX_MEMORY_KIB, MAX_WORK_KIB, Cost, check_cost, check_passphrase
from qpq.crypto.primitives import (
    HASH_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    aead_open,
    aead_seal,
    argon2id,
    hkdf,
    taken,
    wipe,
)
from qpq.crypto.primitives import lock as keep_out_of_swap
from qpq.errors import QpqError
from qpq.store.codec import Sealed
from qpq.store.keyring_file import read_private, replace_private

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_NAME: Final = "vault.json"
FORMAT: Final = 1
PASSPHRASE, KEY_FILE, NONE = "passphrase", "key-file", "none"
KEY_FILE_PREFIX: Final = b"qpq-key-1:"
KEY_FILE_BYTES: Final = 32

MIN_MEMORY_KIB: Final = 8 * 1024
"""The least Argon2id gets, however small the machine (OWASP: 7 MiB with 5 passes)."""
LEAST_PASSES, LEAST_WORK_KIB = 4, 40 * 1024
_MEMORY_PART = 4
_MAX_FILE = 16 * 1024
_MAX_KEY_FILE = 256
_MAX_PATH = 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FIELDS: Final = {
    PASSPHRASE: {"format", "protection", "passes", "memory_kib", "salt", "nonce", "key"},
    KEY_FILE: {"format", "protection", "key_file", "salt", "nonce", "key"},
    NONE: {"format", "protection", "key"},
}


class VaultError(QpqError):
    """The keys at rest cannot be used or changed; the message says what to do."""


class VaultDamagedError(VaultError):
    """vault.json is there and cannot be used; it was left as it is."""


class WrongKeyError(VaultError):
    """The passphrase or the key file is not the one that belongs to vault.json."""


class KeyFileMissingError(VaultError):
    """The key file is not there (yet)."""


class KeyFileError(VaultError):
    """The file is no key file, or others can read it."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What vault.json holds: by what the data key is protected, and the data key under it."""

    protection: str
    key: bytes
    cost: Cost = DEFAULT_COST
    key_file: str = ""
    salt: bytes = b""
    nonce: bytes = b""


class Vault:
    """The data key of a node, open. ``path`` is vault.json, ``lock`` what it holds."""

    def __init__(self, path: str, key: bytearray, lock: Lock, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self.path = path
        self.lock = lock
        self._key = key
        self._random = random
        self.identities = Sealed(self._derived(b"identities"), random)
        self.store = Sealed(self._derived(b"store"), random)
        keep_out_of_swap(self._key, self.identities.key, self.store.key)

    @classmethod
    def make(cls, path: str, lock: Callable[[bytes], Lock], *, random: Callable[[int], bytes] = os.urandom) -> Vault:
        """Make a data key, put it under ``lock`` and write vault.json; raises VaultError, CryptoError."""
        key = taken(random(KEY_BYTES))
        vault = cls(path, bytearray(key), lock(key), random=random)
        vault.write()
        return vault

    @property
    def protection(self) -> str:
        """By what the key is protected: ``passphrase``, ``key-file``, or ``none`` while that ends."""
        return self.lock.protection

    def change(self, lock: Callable[[bytes], Lock]) -> None:
        """Put the same data key under another passphrase or key file; raises VaultError, CryptoError."""
        before, self.lock = self.lock, lock(taken(bytes(self._key)))
        try:
            self.write()
        except VaultError:
            self.lock = before
            raise

    def give_up(self) -> None:
        """Write the bare data key: from here on nothing is protected, whatever happens. Raises VaultError."""
        self.change(lambda key: Lock(NONE, key))

    def write(self) -> None:
        """Write vault.json; after a power cut there is the old one or the new one. Raises VaultError."""
        try:
            replace_private(self.path, encode(self.lock), shred=True)
        except OSError as error:
            raise VaultError(f"{self.path} cannot be written ({error.strerror}): nothing was changed") from None

    def remove(self) -> None:
        """Remove vault.json, once nothing needs it; raises VaultError."""
        try:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
        except OSError as error:
            raise VaultError(f"{self.path} cannot be removed: {error.strerror}") from None

    def forget(self) -> None:
        """Overwrite the data key in memory; keys made from it live as long as what uses them."""
        wipe(self._key)

    def _derived(self, what: bytes) -> bytes:
        key = taken(bytes(self._key))
        return hkdf(key, salt=bytes(HASH_BYTES), info=b"qpq/1/at-rest/" + what, length=KEY_BYTES)


# --- locks -----------------------------------------------------------------------------------


def sized(available: int) -> Cost:
    """Return what guessing shall cost, by the bytes of memory available now: a quarter of them, 8 to 256 MiB."""
    memory = available // 1024 // _MEMORY_PART // 1024 * 1024
    memory = min(max(memory, MIN_MEMORY_KIB), MAX_MEMORY_KIB)
    return Cost(min(max(LEAST_PASSES, -(-LEAST_WORK_KIB // memory)), MAX_WORK_KIB // memory), memory)


def passphrase_lock(
    passphrase: str, cost: Cost, random: Callable[[int], bytes] = os.urandom
) -> Callable[[bytes], Lock]:
    """Return what puts a data key under a passphrase; the slow part is done here.

    Raises PassphraseError for one too short or too long, CryptoError where the memory cannot be had.
    """
    salt = random(SALT_BYTES)
    secret = argon2id(check_passphrase(passphrase), salt, ops=cost.ops, memory=cost.memory_kib << 10)
    empty = Lock(PASSPHRASE, b"", cost, salt=salt, nonce=random(NONCE_BYTES))
    return lambda key: _sealed(empty, secret, key)


def key_file_lock(path: str, random: Callable[[int], bytes] = os.urandom) -> Callable[[bytes], Lock]:
    """Return what puts a data key under the key file at ``path``; raises KeyFileError, KeyFileMissingError."""
    salt = random(SALT_BYTES)
    secret = _from_key_file(read_key_file(path), salt)
    empty = Lock(KEY_FILE, b"", key_file=path, salt=salt, nonce=random(NONCE_BYTES))
    return lambda key: _sealed(empty, secret, key)


def open_passphrase(path: str, lock: Lock, passphrase: str) -> Vault:
    """Open a vault by its passphrase; takes as long as Argon2id does.

    Raises WrongKeyError, CryptoError where the memory cannot be had.
    """
    try:
        encoded = check_passphrase(passphrase)
    except PassphraseError:
        raise WrongKeyError("wrong passphrase: nothing was opened") from None
    secret = argon2id(encoded, lock.salt, ops=lock.cost.ops, memory=lock.cost.memory_kib << 10)
    return _opened(path, lock, secret, "wrong passphrase: nothing was opened")


def open_key_file(path: str, lock: Lock, key_file: str) -> Vault:
    """Open a vault by a key file; raises WrongKeyError, KeyFileError, KeyFileMissingError."""
    secret = _from_key_file(read_key_file(key_file), lock.salt)
    return _opened(path, lock, secret, f"{key_file} is not the key file that {path} was made with")


def open_bare(path: str, lock: Lock) -> Vault:
    """Open what ``Vault.give_up`` wrote."""
    return Vault(path, bytearray(lock.key), lock)


def _sealed(empty: Lock, secret: bytes, key: bytes) -> Lock:
    sealed = aead_seal(secret, empty.nonce, key, _bound(empty))
    return Lock(empty.protection, sealed, empty.cost, empty.key_file, empty.salt, empty.nonce)


def _opened(path: str, lock: Lock, secret: bytes, wrong: str) -> Vault:
    try:
        key = taken(aead_open(secret, lock.nonce, lock.key, _bound(lock)))
    except AuthenticationError:
        raise WrongKeyError(wrong) from None
    return Vault(path, bytearray(key), lock)


def _bound(lock: Lock) -> bytes:
    """Return the fields that are authenticated with the key, as they stand in the file."""
    return json.dumps({name: value for name, value in _document(lock).items() if name != "key"}).encode()


def _from_key_file(content: bytes, salt: bytes) -> bytes:
    return taken(hkdf(content, salt=salt, info=b"qpq/1/at-rest/key-file", length=KEY_BYTES))


# --- files -----------------------------------------------------------------------------------


def load(path: str) -> Lock | None:
    """Read vault.json strictly, None where there is none; raises VaultDamagedError, VaultError."""
    try:
        return decode(read_private(path, _MAX_FILE).content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ExportError) as error:
        raise VaultDamagedError(
            f"{path} cannot be used: {error}. It was left as it is: put a backup in its place. Without it nothing that"
            " is sealed can be opened"
        ) from None


def encode(lock: Lock) -> bytes:
    """Return vault.json."""
    return json.dumps(_document(lock), indent=1).encode() + b"\n"


def decode(content: bytes) -> Lock:
    """Read vault.json; raises ValueError, and ExportError for a cost above the caps."""
    value = json.loads(content.decode(), object_pairs_hook=_pairs)
    if not isinstance(value, dict) or type(value.get("format")) is not int:
        raise ValueError("it is none of this program")
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']} was written by a newer qpq: update this node")
    protection = value.get("protection")
    if not isinstance(protection, str) or protection not in _FIELDS or set(value) != _FIELDS[protection]:
        raise ValueError("something is missing in it, or too much")
    if protection == NONE:
        return Lock(NONE, _hex(value["key"], KEY_BYTES))
    key, salt = _hex(value["key"], KEY_BYTES + TAG_BYTES), _hex(value["salt"], SALT_BYTES)
    nonce = _hex(value["nonce"], NONCE_BYTES)
    if protection == KEY_FILE:
        path = value["key_file"]
        if not isinstance(path, str) or not path.startswith("/") or len(path) > _MAX_PATH:
            raise ValueError("key_file is no path")
        return Lock(KEY_FILE, key, key_file=path, salt=salt, nonce=nonce)
    passes, memory = value["passes"], value["memory_kib"]
    if type(passes) is not int or type(memory) is not int:
        raise ValueError("passes and memory_kib are no numbers")
    cost = Cost(passes, memory)
    check_cost(cost)
    return Lock(PASSPHRASE, key, cost, salt=salt, nonce=nonce)


def read_key_file(path: str) -> bytes:
    """Return the secret in a key file; raises KeyFileMissingError, KeyFileError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise KeyFileMissingError(f"the key file {path} is not there") from None
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is no regular file")
        if status.st_mode & _OTHERS:
            raise KeyFileError(
                f"others can read the key file {path} (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 it, or mount"
                " a stick that knows no modes with umask=077"
            )
        content = os.read(descriptor, _MAX_KEY_FILE).strip()
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    try:
        found = taken(_hex(content[len(KEY_FILE_PREFIX) :].decode("ascii"), KEY_FILE_BYTES))
    except ValueError:
        found = b""
    if found and content.startswith(KEY_FILE_PREFIX):
        return found
    raise KeyFileError(f"{path} is no key file: make one with: qpq lock key-file <new path>")


def make_key_file(path: str, random: Callable[[int], bytes] = os.urandom) -> bool:
    """Write a new key file, mode 0600, unless something is there; return whether it was made. Raises KeyFileError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be made: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            file.write(KEY_FILE_PREFIX + random(KEY_FILE_BYTES).hex().encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)
        raise KeyFileError(f"the key file {path} cannot be written: {error.strerror}") from None
    return True


def _document(lock: Lock) -> dict[str, object]:
    document: dict[str, object] = {"format": FORMAT, "protection": lock.protection}
    if lock.protection == PASSPHRASE:
        document |= {"passes": lock.cost.ops, "memory_kib": lock.cost.memory_kib}
    if lock.protection == KEY_FILE:
        document["key_file"] = lock.key_file
    if lock.protection != NONE:
        document |= {"salt": lock.salt.hex(), "nonce": lock.nonce.hex()}
    return {**document, "key": lock.key.hex()}


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands there twice")
    return result


def _hex(value: object, length: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * length or not _DIGITS.issuperset(value):
        raise ValueError(f"a value is not {2 * length} hexadecimal digits")
    return bytes.fromhex(value)


_DIGITS: Final = frozenset("0123456789abcdef")
