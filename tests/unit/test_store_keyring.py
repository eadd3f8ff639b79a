"""The keyring: nothing is lost, nothing leaks, a damaged file is left alone."""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from qpq.crypto.channels import Channel, ChannelKind, open_channel
from qpq.crypto.errors import AuthenticationError, CryptoError, ExportError, IdentityError, PassphraseError
from qpq.crypto.export import Cost, seal_export
from qpq.crypto.identity import Address, Identity, SecretIdentity, text_id
from qpq.store import keyring as keyring_module
from qpq.store import keyring_data, keyring_file
from qpq.store.keyring import (
    AmbiguousPeerError,
    Keyring,
    KeyringDamagedError,
    KeyringError,
    KeyringMissingError,
    KeyringWriteError,
    LimitReachedError,
    NoSuchChannelError,
    NoSuchUserError,
    UnknownPeerError,
)
from qpq.store.keyring_data import (
    MAX_BLOCKED,
    MAX_CHANGED,
    MAX_CHANNELS,
    MAX_MUTED,
    MAX_PEERS,
    MAX_PETNAMES,
    MAX_SEEN,
    MAX_USERS,
    ContentError,
    NameRefusedError,
    check_petname,
    check_user_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qpq.errors import QpqError

CHEAP = Cost(ops=1, memory_kib=8)
PASSPHRASE = "correct horse"  # noqa: S105 (of throw-away keys)
BOB, EVE, ZOE = (SecretIdentity(bytes([200 + number]) * 32).address for number in range(3))


def counting_random() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda count: next(numbers).to_bytes(count, "big")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "identity.json")


@pytest.fixture
def keyring(path: str) -> Keyring:
    return Keyring.create(path, random=counting_random())


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def document(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(content(path))
    return loaded


def same(one: Keyring, two: Keyring) -> bool:
    def shown(keyring: Keyring) -> object:
        users = [(u.name, u.secret.seed, u.petnames, u.blocked, u.muted, u.channels) for u in keyring.users]
        return (keyring.node.seed, users, keyring.peers)

    return shown(one) == shown(two)


# --- the file ------------------------------------------------------------------------------


def test_a_fresh_keyring_has_a_node_and_a_user_called_me(path: str) -> None:
    keyring = Keyring.open(path)
    assert [user.name for user in keyring.users] == ["me"]
    assert keyring.node.identity != keyring.users[0].address
    assert keyring.peers == ()
    assert keyring.path == os.path.realpath(path)
    assert not keyring.exposed


def test_two_fresh_keyrings_have_nothing_in_common(tmp_path: Path) -> None:
    one, two = (Keyring.open(str(tmp_path / name)) for name in ("one", "two"))
    assert len({one.node.seed, two.node.seed, one.users[0].secret.seed, two.users[0].secret.seed}) == 4


def test_what_was_written_is_read_back(keyring: Keyring, path: str) -> None:
    keyring.add_user("anna")
    keyring.name_peer("anna", BOB, "Bob")
    keyring.name_peer("anna", ZOE, "Zo\u00eb")
    keyring.block("anna", EVE)
    keyring.mute("me", BOB)
    keyring.add_peer("[fe80::1%br-lan]:7000", Identity(BOB))
    keyring.add_peer("node.example:7000")
    again = Keyring.open(path)
    assert same(keyring, again)
    assert again.user("anna").petnames == {BOB: "Bob", ZOE: "Zo\u00eb"}
    assert again.user("anna").blocked == {EVE}
    assert again.user("me").muted == {BOB}
    assert [peer.address for peer in again.peers] == ["[fe80::1%br-lan]:7000", "node.example:7000"]


def test_the_file_is_for_its_owner_only_whatever_the_umask(path: str) -> None:
    before = os.umask(0)
    try:
        keyring = Keyring.create(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        keyring.add_user("anna")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_file_others_could_read_is_closed_and_reported(keyring: Keyring, path: str, mode: int) -> None:
    os.chmod(keyring.path, mode)
    again = Keyring.load(path)
    assert again.exposed
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not Keyring.load(path).exposed


def test_a_mode_that_cannot_be_mended_is_reported_all_the_same(
    keyring: Keyring, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _mode: int) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    os.chmod(keyring.path, 0o644)
    monkeypatch.setattr(os, "fchmod", refuse)
    assert Keyring.load(path).exposed


def test_a_missing_file_is_told_apart_from_a_damaged_one(path: str) -> None:
    with pytest.raises(KeyringMissingError, match="does not exist"):
        Keyring.load(path)
    assert not os.path.exists(path)


def damage() -> dict[str, Callable[[bytes], bytes]]:
    def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
        def apply(data: bytes) -> bytes:
            loaded = json.loads(data)
            change(loaded)
            return json.dumps(loaded).encode()

        return apply

    def user(**fields: object) -> Callable[[bytes], bytes]:
        return edited(lambda d: d["users"][0].update(fields))

    bob = text_id(BOB)
    news = {"topic": "news", "kind": "open", "key": open_channel("news").key.hex(), "signers": []}
    many = {text_id(SecretIdentity(bytes(30) + n.to_bytes(2, "big")).address): f"P{n}" for n in range(257)}
    return {
        "empty": lambda _: b"",
        "zeros": lambda data: bytes(len(data)),
        "half": lambda data: data[: len(data) // 2],
        "all but the last brace": lambda data: data.rstrip()[:-1],
        "not UTF-8": lambda data: data.replace(b"me", b"\xff\xfe"),
        "more behind": lambda data: data + b"{}",
        "deep": lambda _: b"[" * 100_000,
        "deep object": lambda _: b'{"format":' * 100_000,
        "huge number": lambda _: b'{"format":' + b"9" * 5000 + b"}",
        "NaN": lambda _: b'{"format":NaN}',
        "a list": lambda _: b"[]",
        "a text": lambda _: b'"identity"',
        "a key twice": lambda data: data.replace(b'"format": 1', b'"format": 1, "format": 1'),
        "newer": edited(lambda d: d.update(format=2)),
        "format missing": edited(lambda d: d.pop("format")),
        "format zero": edited(lambda d: d.update(format=0)),
        "format text": edited(lambda d: d.update(format="1")),
        "node missing": edited(lambda d: d.pop("node")),
        "node no object": edited(lambda d: d.update(node=[])),
        "unknown key": edited(lambda d: d.update(more=1)),
        "users no list": edited(lambda d: d.update(users={})),
        "no users": edited(lambda d: d.update(users=[])),
        "a user is no object": edited(lambda d: d.update(users=["me"])),
        "the same user twice": edited(lambda d: d["users"].append(dict(d["users"][0]))),
        "the same key under two names": edited(lambda d: d["users"].append({**d["users"][0], "name": "anna"})),
        "the node's key as user": edited(lambda d: d["users"][0].update(d["node"])),
        "17 users": edited(lambda d: d.update(users=d["users"] * 17)),
        "seed altered": edited(lambda d: d["node"].update(seed="00" * 32)),
        "seed short": user(seed="00" * 31),
        "seed upper case": user(seed="AB" * 32),
        "seed with spaces": user(seed=" " * 64),
        "seed a number": user(seed=7),
        "id altered": user(id=bob),
        "id short": user(id="abc"),
        "id a number": user(id=5),
        "user name bad": user(name="An Na"),
        "user name a number": user(name=1),
        "petnames no object": user(petnames=[]),
        "petname for no id": user(petnames={"bob": "Bob"}),
        "petname a number": user(petnames={bob: 1}),
        "petname with escape": user(petnames={bob: "\x1b[2J"}),
        "petname lone surrogate": user(petnames={bob: "\ud800"}),
        "petname like an id": user(petnames={bob: "abcdefghijklmnopqrst"}),
        "petname twice": user(petnames={bob: "X", text_id(EVE): "x"}),
        "too many petnames": user(petnames=many),
        "blocked no list": user(blocked={}),
        "blocked no id": user(blocked=["bob"]),
        "blocked twice": user(blocked=[bob, bob]),
        "too many blocked": user(blocked=list(many)),
        "too many muted": user(muted=list(many)),
        "peers no list": edited(lambda d: d.update(peers=None)),
        "peer no object": edited(lambda d: d.update(peers=["host:1"])),
        "peer without address": edited(lambda d: d.update(peers=[{"id": bob}])),
        "peer address a number": edited(lambda d: d.update(peers=[{"address": 1}])),
        "peer address with escape": edited(lambda d: d.update(peers=[{"address": "\x1b:1"}])),
        "peer id bad": edited(lambda d: d.update(peers=[{"address": "host:1", "id": "x"}])),
        "peer id null": edited(lambda d: d.update(peers=[{"address": "host:1", "id": None}])),
        "peer unknown key": edited(lambda d: d.update(peers=[{"address": "host:1", "x": 1}])),
        "peer twice": edited(lambda d: d.update(peers=[{"address": "host:1"}] * 2)),
        "65 peers": edited(lambda d: d.update(peers=[{"address": f"host:{n}"} for n in range(65)])),
        "channels no list": user(channels={}),
        "a channel is no object": user(channels=["news"]),
        "channel without a key": user(channels=[{"topic": "news", "kind": "open", "signers": []}]),
        "channel unknown key": user(channels=[{**news, "x": 1}]),
        "channel of another kind": user(channels=[{**news, "kind": "secret"}]),
        "channel kind a number": user(channels=[{**news, "kind": 0}]),
        "channel with another topic's key": user(channels=[{**news, "topic": "other"}]),
        "channel key short": user(channels=[{**news, "key": news["key"][2:]}]),
        "channel topic empty": user(channels=[{**news, "topic": ""}]),
        "channel topic with escape": user(channels=[{**news, "kind": "private", "topic": "\x1b[2J"}]),
        "channel topic lone surrogate": user(channels=[{**news, "kind": "private", "topic": "\ud800"}]),
        "open channel with a signer": user(channels=[{**news, "signers": [bob]}]),
        "announcement channel without a signer": user(channels=[{**news, "kind": "announcement"}]),
        "channel signer no id": user(channels=[{**news, "kind": "announcement", "signers": ["bob"]}]),
        "channel signer twice": user(channels=[{**news, "kind": "announcement", "signers": [bob, bob]}]),
        "too many signers": user(channels=[{**news, "kind": "announcement", "signers": list(many)[:9]}]),
        "channel topic twice": user(channels=[news, {**news, "kind": "private", "key": "77" * 32}]),
        "channel key twice": user(channels=[news, {**news, "kind": "private", "topic": "other"}]),
        "too many channels": user(channels=[{**news, "kind": "private", "topic": f"{n}"} for n in range(65)]),
        "verified no list": user(verified={}),
        "verified no id": user(verified=["bob"]),
        "verified twice": user(verified=[bob, bob]),
        "too many verified": user(verified=list(many)),
        "changed no object": user(changed=[]),
        "changed without a petname": user(changed={bob: text_id(EVE)}),
        "changed to itself": user(petnames={bob: "Bob"}, changed={bob: bob}),
        "changed to no id": user(petnames={bob: "Bob"}, changed={bob: "eve"}),
        "too many changed": user(
            petnames={one: f"P{n}" for n, one in enumerate(list(many)[:65])},
            changed=dict.fromkeys(list(many)[:65], bob),
        ),
        "padding a number": user(padding=0),
        "padding null": user(padding=None),
        "seen no list": edited(lambda d: d.update(seen={})),
        "seen twice": edited(lambda d: d.update(seen=[{"address": "host:1", "id": bob}] * 2)),
        "seen unknown key": edited(lambda d: d.update(seen=[{"address": "host:1", "id": bob, "x": 1}])),
        "seen nobody": edited(lambda d: d.update(seen=[{"address": "host:1"}])),
        "too many seen": edited(lambda d: d.update(seen=[{"address": f"host:{n}", "id": bob} for n in range(129)])),
        "too large": lambda data: data + b" " * keyring_module.MAX_FILE,
    }


@pytest.mark.parametrize("how", damage())
def test_a_damaged_file_is_reported_and_left_byte_for_byte(keyring: Keyring, path: str, how: str) -> None:
    damaged = damage()[how](content(keyring.path))
    write(path, damaged)
    for start in (Keyring.load, Keyring.open):
        with pytest.raises(KeyringDamagedError, match="cannot be used") as caught:
            start(path)
        assert path in str(caught.value)
        assert "backup" in str(caught.value)
        assert content(path) == damaged
    with pytest.raises(KeyringWriteError):
        Keyring.create(path)
    assert content(path) == damaged
    assert os.listdir(os.path.dirname(path)) == ["identity.json"]


def test_what_damage_is_reported_never_shows_a_seed(keyring: Keyring, path: str) -> None:
    seed = keyring.node.seed.hex()
    for how, apply in damage().items():
        write(path, apply(json.dumps(document_of(keyring)).encode()))
        with pytest.raises(KeyringDamagedError) as caught:
            Keyring.load(path)
        assert seed not in str(caught.value), how


def document_of(keyring: Keyring) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(keyring_data.encode_contents(keyring._contents))
    return loaded


def test_every_single_cut_of_the_file_is_reported(keyring: Keyring, path: str) -> None:
    whole = content(keyring.path).rstrip()
    for length in range(len(whole)):
        write(path, whole[:length])
        with pytest.raises(KeyringDamagedError):
            Keyring.load(path)


def test_a_directory_or_pipe_in_its_place_is_reported(tmp_path: Path) -> None:
    directory, pipe = str(tmp_path / "directory"), str(tmp_path / "pipe")
    os.mkdir(directory)
    os.mkfifo(pipe)
    for path in (directory, pipe):
        with pytest.raises(KeyringDamagedError, match="no regular file"):
            Keyring.load(path)


def test_no_descriptor_stays_open(keyring: Keyring, path: str, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    keyring.add_user("anna")
    Keyring.load(path)
    with pytest.raises(KeyringDamagedError):
        Keyring.load(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_symbolic_link_stays_one_and_its_target_is_replaced(keyring: Keyring, path: str, tmp_path: Path) -> None:
    link = str(tmp_path / "link.json")
    os.symlink(keyring.path, link)
    Keyring.load(link).add_user("anna")
    assert os.path.islink(link)
    assert [user.name for user in Keyring.load(path).users] == ["me", "anna"]


# --- writing -------------------------------------------------------------------------------


def failing(number: int) -> Callable[..., Any]:
    def fail(*_args: object, **_kwargs: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_where_writing_fails_nothing_has_changed(
    keyring: Keyring, path: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(KeyringWriteError, match=r"No space left.*nothing was changed"):
            keyring.add_user("anna")
    assert [user.name for user in keyring.users] == ["me"]
    assert content(path) == before
    assert os.listdir(os.path.dirname(path)) == ["identity.json"]
    keyring.add_user("anna")
    assert same(keyring, Keyring.load(path))


def test_a_new_keyring_in_a_missing_directory_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(KeyringWriteError, match="No such file or directory"):
        Keyring.open(str(tmp_path / "missing" / "identity.json"))


def test_the_content_is_on_the_medium_before_it_takes_the_name(
    keyring: Keyring, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def spy_fsync(descriptor: int) -> None:
        calls.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def spy_rename(source: str, target: str) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    keyring.add_user("anna")
    assert calls == ["file", "rename", "directory"]
    assert same(keyring, Keyring.load(path))


def test_a_file_system_that_cannot_flush_directories_is_good_enough(
    keyring: Keyring, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "invalid")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    keyring.add_user("anna")
    assert same(keyring, Keyring.load(path))


def test_what_a_power_cut_left_beside_the_file_is_no_hindrance(keyring: Keyring, path: str) -> None:
    write(path + ".new", b"half a ke")
    os.chmod(path + ".new", 0o666)  # noqa: S103 (the leftover is open on purpose)
    keyring.add_user("anna")
    assert os.listdir(os.path.dirname(path)) == ["identity.json"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert same(keyring, Keyring.load(path))


def test_a_link_laid_beside_the_file_is_not_followed(keyring: Keyring, path: str, tmp_path: Path) -> None:
    target = str(tmp_path / "elsewhere")
    write(target, b"precious")
    os.symlink(target, path + ".new")
    keyring.add_user("anna")
    assert content(target) == b"precious"


def test_a_file_somebody_else_changed_is_not_overwritten(keyring: Keyring, path: str) -> None:
    other = Keyring.load(path)
    other.add_user("anna")
    before = content(path)
    with pytest.raises(KeyringWriteError, match="restart the node"):
        keyring.add_user("bert")
    assert content(path) == before
    assert [user.name for user in keyring.users] == ["me"]


def test_a_file_somebody_removed_is_written_anew(keyring: Keyring, path: str) -> None:
    os.unlink(path)
    keyring.add_user("anna")
    assert same(keyring, Keyring.load(path))


def test_what_changes_nothing_writes_nothing(keyring: Keyring, path: str) -> None:
    keyring.block("me", BOB)
    keyring.name_peer("me", BOB, "Bob")
    keyring.add_peer("host:7000")
    before = os.stat(path)
    keyring.block("me", BOB)
    keyring.unblock("me", EVE)
    keyring.unmute("me", EVE)
    keyring.name_peer("me", BOB, "Bob")
    keyring.name_peer("me", EVE, "")
    keyring.add_peer("host:7000")
    assert keyring.remove_peer("other:7000") is False
    after = os.stat(path)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


# --- users ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "anna", "user_1", "x-y", "0", "_", "a" * 32])
def test_these_are_user_names(name: str) -> None:
    check_user_name(name)


@pytest.mark.parametrize(
    "name", ["", "Anna", "a b", "a" * 33, "-x", "\u00e4", "a.b", "a/b", "../x", "a\n", "\x1b", "\u0663"]
)
def test_these_are_no_user_names(keyring: Keyring, name: str) -> None:
    with pytest.raises(NameRefusedError, match="a user name has"):
        keyring.add_user(name)
    assert len(keyring.users) == 1


def test_a_node_has_at_most_sixteen_users(keyring: Keyring, path: str) -> None:
    for number in range(MAX_USERS - 1):
        keyring.add_user(f"user{number}")
    assert len({user.address for user in keyring.users}) == MAX_USERS == 16
    with pytest.raises(LimitReachedError, match="at most 16 users"):
        keyring.add_user("one-more")
    assert same(keyring, Keyring.load(path))


def test_two_users_never_share_a_name(keyring: Keyring) -> None:
    with pytest.raises(NameRefusedError, match="already"):
        keyring.add_user("me")


def test_a_removed_user_is_gone_from_the_file(keyring: Keyring, path: str) -> None:
    keyring.add_user("anna")
    removed = keyring.remove_user("me")
    assert removed.name == "me"
    assert removed.secret.seed.hex() not in content(path).decode()
    assert [user.name for user in Keyring.load(path).users] == ["anna"]


def test_the_last_user_stays(keyring: Keyring) -> None:
    with pytest.raises(KeyringError, match="only user"):
        keyring.remove_user("me")
    assert len(keyring.users) == 1


def test_a_user_who_is_not_there_is_told_with_those_who_are(keyring: Keyring) -> None:
    keyring.add_user("anna")
    calls: list[Callable[[], object]] = [
        lambda: keyring.user("bert"),
        lambda: keyring.remove_user("bert"),
        lambda: keyring.name_peer("bert", BOB, "Bob"),
        lambda: keyring.block("bert", BOB),
        lambda: keyring.unblock("bert", BOB),
        lambda: keyring.mute("bert", BOB),
        lambda: keyring.unmute("bert", BOB),
        lambda: keyring.export_user("bert", PASSPHRASE),
        lambda: keyring.resolve("bert", "Bob"),
    ]
    for call in calls:
        with pytest.raises(NoSuchUserError, match="there is: me, anna"):
            call()


# --- petnames, blocked, muted ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Bob", "b", "bob.k", "Zo\u00eb", "\u674e", "a" * 7, "Elisabeth", "anna-maria", "1" * 32, "\U0001f4e1"]
)
def test_these_are_petnames(name: str) -> None:
    check_petname(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 33,
        "\U0001f4e1" * 17,
        "a b",
        "a\tb",
        "a\nb",
        "a\x1b[31m",
        "a\x00",
        "a\x7f",
        "a\x9b",
        "a\u202eb",
        "a\u200bb",
        "a\u00a0b",
        "\ud800",
        "-flag",
        "/mesh",
        'a"b',
        "a'b",
        "a\\b",
        "a`b",
        "abcdefghijklmnopqrst",
        "22222222222222222222",
        text_id(BOB)[:32],
    ],
)
def test_these_are_no_petnames(keyring: Keyring, name: str) -> None:
    with pytest.raises(NameRefusedError):
        check_petname(name)
    if name:
        with pytest.raises(NameRefusedError):
            keyring.name_peer("me", BOB, name)
    assert keyring.user("me").petnames == {}


def test_a_petname_that_looks_like_an_id_is_refused_with_advice() -> None:
    with pytest.raises(NameRefusedError, match="capital letter"):
        check_petname("maximilianalexandervon")


def test_a_long_first_name_is_a_petname() -> None:
    for name in ("christian", "elisabeth"):
        check_petname(name)


@pytest.mark.parametrize("name", ["Bob", "bob", "BOB"])
def test_one_petname_never_means_two_peers(keyring: Keyring, name: str) -> None:
    keyring.name_peer("me", BOB, "Bob")
    assert not keyring.name_peer("me", EVE, name)
    assert keyring.user("me").petnames == {BOB: "Bob"}
    assert keyring.user("me").changed == {BOB: EVE}


def test_a_petname_can_be_changed_and_taken_away(keyring: Keyring) -> None:
    keyring.name_peer("me", BOB, "Bob")
    keyring.name_peer("me", BOB, "bob")
    assert keyring.user("me").petnames == {BOB: "bob"}
    keyring.name_peer("me", BOB, "")
    assert keyring.user("me").petnames == {}


def test_a_petname_is_not_that_of_a_user_of_this_node(keyring: Keyring) -> None:
    keyring.add_user("anna")
    with pytest.raises(NameRefusedError, match="user of this node"):
        keyring.name_peer("me", BOB, "Anna")


def test_petnames_belong_to_one_user(keyring: Keyring) -> None:
    keyring.add_user("anna")
    keyring.name_peer("me", BOB, "Bob")
    keyring.name_peer("anna", EVE, "Bob")
    assert keyring.resolve("me", "Bob") == BOB
    assert keyring.resolve("anna", "Bob") == EVE


def address(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


@pytest.mark.parametrize(
    ("limit", "add"),
    [
        (MAX_PETNAMES, lambda keyring, number: keyring.name_peer("me", address(number), f"P{number}")),
        (MAX_BLOCKED, lambda keyring, number: keyring.block("me", address(number))),
        (MAX_MUTED, lambda keyring, number: keyring.mute("me", address(number))),
        (MAX_PEERS, lambda keyring, number: keyring.add_peer(f"host{number}:7000")),
        (MAX_CHANNELS, lambda keyring, number: keyring.join_channel("me", open_channel(f"topic {number}"))),
    ],
)
def test_lists_are_capped(
    keyring: Keyring, path: str, limit: int, add: Callable[[Keyring, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    for number in range(limit):
        add(keyring, number)
    before = content(path)
    with pytest.raises(LimitReachedError, match="one first"):
        add(keyring, limit)
    assert content(path) == before
    add(keyring, 0)
    assert same(keyring, Keyring.load(path))


def test_a_full_keyring_stays_below_the_cap_of_the_file(keyring: Keyring) -> None:
    ids = [address(number) for number in range(256)]
    user = keyring_data.User(
        "a" * 32,
        keyring.node,
        {one: f"{number:03}" + "\U0001f4e1" * 15 for number, one in enumerate(ids)},
        frozenset(ids),
        frozenset(ids),
        tuple(
            [
                Channel(
                    f"{number:04}" + "\U0001f4e1" * 15, bytes([number]) * 32, ChannelKind.ANNOUNCEMENT, tuple(ids[:8])
                )
                for number in range(MAX_CHANNELS)
            ]
        ),
        frozenset(ids),
        {one: address(1000) for one in ids[:MAX_CHANGED]},
        padding=False,
    )
    peers = tuple([keyring_data.KnownPeer("h" * 280, Identity(BOB))] * MAX_PEERS)
    seen = (peers[0],) * MAX_SEEN
    full = keyring_data.encode_contents(keyring_data.Contents(keyring.node, (user,) * MAX_USERS, peers, seen))
    assert len(full) <= keyring_module.MAX_FILE
    assert len(keyring_data.encode_user(user)) <= 128 * 1024


def test_who_is_blocked_or_muted_can_come_back(keyring: Keyring) -> None:
    keyring.block("me", BOB)
    keyring.mute("me", EVE)
    assert (keyring.user("me").blocked, keyring.user("me").muted) == ({BOB}, {EVE})
    keyring.unblock("me", BOB)
    keyring.unmute("me", EVE)
    assert (keyring.user("me").blocked, keyring.user("me").muted) == (frozenset(), frozenset())


def test_a_channel_is_kept_with_its_key_and_signers_until_its_user_leaves_it(keyring: Keyring, path: str) -> None:
    before = content(path)
    news, board = open_channel("news"), Channel("Vorstand", b"k" * 32, ChannelKind.PRIVATE)
    alarm = Channel("Alarm \U0001f6a8", b"a" * 32, ChannelKind.ANNOUNCEMENT, (BOB, EVE))
    for channel in (news, board, alarm):
        keyring.join_channel("me", channel)
        keyring.join_channel("me", channel)
    assert Keyring.load(path).user("me").channels == (news, board, alarm)
    assert keyring.channel("me", "news") == news
    assert [keyring.leave_channel("me", channel.topic) for channel in (board, news, alarm)] == [board, news, alarm]
    assert content(path) == before, "a user of no channel leaves no trace of it"
    for call in (keyring.channel, keyring.leave_channel):
        with pytest.raises(NoSuchChannelError, match="subscribe"):
            call("me", "news")


def test_one_topic_never_means_two_channels_of_a_user(keyring: Keyring) -> None:
    keyring.add_user("anna")
    keyring.join_channel("me", open_channel("news"))
    for other in (
        Channel("news", b"k" * 32, ChannelKind.PRIVATE),
        Channel("x", open_channel("news").key, ChannelKind.PRIVATE),
    ):
        with pytest.raises(KeyringError, match="unsubscribe from it first"):
            keyring.join_channel("me", other)
        keyring.join_channel("anna", other)
        keyring.leave_channel("anna", other.topic)


def test_a_file_from_before_there_were_channels_is_read(keyring: Keyring, path: str) -> None:
    loaded = document(path)
    assert "channels" not in loaded["users"][0]
    assert Keyring.load(path).user("me").channels == keyring.user("me").channels == ()


def test_nobody_blocks_oneself(keyring: Keyring) -> None:
    with pytest.raises(KeyringError, match="your own"):
        keyring.block("me", keyring.user("me").address)


# --- peers given by hand -----------------------------------------------------------------------


def test_a_peer_given_again_is_replaced(keyring: Keyring, path: str) -> None:
    keyring.add_peer("a:7000")
    keyring.add_peer("b:7000")
    keyring.add_peer("a:7000", Identity(BOB))
    assert [(peer.address, peer.identity) for peer in Keyring.load(path).peers] == [("b:7000", None), ("a:7000", BOB)]
    assert keyring.remove_peer("b:7000")
    assert [peer.address for peer in Keyring.load(path).peers] == ["a:7000"]


@pytest.mark.parametrize("text", ["", "a b:1", "\x1b[2J:1", "h\u00f6st:1", "a\n:1", "x" * 281])
def test_what_is_no_address_is_not_kept(keyring: Keyring, text: str) -> None:
    with pytest.raises(ContentError, match="host:port"):
        keyring.add_peer(text)
    assert keyring.peers == ()


# --- who is meant --------------------------------------------------------------------------


def test_a_peer_is_found_by_petname_user_name_id_and_prefix(keyring: Keyring) -> None:
    anna = keyring.add_user("anna").address
    keyring.name_peer("me", BOB, "Elisabeth")
    assert keyring.resolve("me", "Elisabeth") == BOB
    assert keyring.resolve("me", "elisabeth") == BOB
    assert keyring.resolve("me", "anna") == anna
    assert keyring.resolve("me", text_id(EVE)) == EVE
    assert keyring.resolve("me", text_id(BOB)[:8]) == BOB
    assert keyring.resolve("me", text_id(anna)[:20]) == anna
    assert keyring.resolve("me", text_id(keyring.node.identity)[:8]) == keyring.node.address
    assert keyring.resolve("me", text_id(EVE)[:8], [EVE]) == EVE


@pytest.mark.parametrize("text", ["", "bob", "Bob", text_id(EVE)[:7], text_id(EVE).upper(), text_id(EVE) + "a", "a b"])
def test_a_text_that_names_nobody_says_what_to_give(keyring: Keyring, text: str) -> None:
    with pytest.raises(UnknownPeerError, match="give a petname"):
        keyring.resolve("me", text, [EVE])


def test_a_prefix_of_no_known_id_is_refused(keyring: Keyring) -> None:
    with pytest.raises(UnknownPeerError, match="give the whole id"):
        keyring.resolve("me", text_id(EVE)[:51])


def test_a_prefix_of_two_ids_is_refused(keyring: Keyring) -> None:
    one, two = Address(bytes(31) + b"\x01"), Address(bytes(31) + b"\x02")
    with pytest.raises(AmbiguousPeerError, match="2 ids begin with aaaaaaaa"):
        keyring.resolve("me", "aaaaaaaa", [one, two, one])


def test_an_id_with_impossible_last_bits_is_refused(keyring: Keyring) -> None:
    with pytest.raises(IdentityError):
        keyring.resolve("me", "a" * 51 + "b")


def test_a_strangers_id_never_takes_the_place_of_a_petname(keyring: Keyring) -> None:
    keyring.name_peer("me", BOB, "Elisabeth")
    number = 0
    for letter in "elisabeth":
        number = number << 5 | "abcdefghijklmnopqrstuvwxyz234567".index(letter)
    ground = (number << (256 - 45)).to_bytes(32, "big")
    assert text_id(ground).startswith("elisabeth")
    assert keyring.resolve("me", "elisabeth", [ground]) == BOB


# --- export and import -----------------------------------------------------------------------


@pytest.fixture
def exported(keyring: Keyring) -> str:
    keyring.add_user("anna")
    keyring.name_peer("anna", BOB, "Zo\u00eb")
    keyring.block("anna", EVE)
    keyring.mute("anna", BOB)
    keyring.join_channel("anna", Channel("Vorstand", b"k" * 32, ChannelKind.PRIVATE))
    return keyring.export_user("anna", PASSPHRASE, CHEAP)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Keyring:
    return Keyring.create(str(tmp_path / "elsewhere.json"))


def test_a_user_moves_to_another_node_with_everything(keyring: Keyring, exported: str, elsewhere: Keyring) -> None:
    elsewhere.import_user(exported, PASSPHRASE)
    there, here = Keyring.load(elsewhere.path).user("anna"), keyring.user("anna")
    assert there.secret.seed == here.secret.seed
    assert (there.petnames, there.blocked, there.muted) == ({BOB: "Zo\u00eb"}, {EVE}, {BOB})
    assert there.channels == here.channels == (Channel("Vorstand", b"k" * 32, ChannelKind.PRIVATE),)


def test_an_export_shows_nothing_of_the_user(keyring: Keyring, exported: str) -> None:
    import base64  # noqa: PLC0415

    raw = base64.b64decode(exported.partition(":")[2])
    seed = keyring.user("anna").secret.seed
    for hidden in (b"anna", seed, seed.hex().encode(), text_id(BOB).encode()):
        assert hidden not in raw
        assert hidden not in exported.encode()


def test_two_exports_of_one_user_differ(keyring: Keyring, exported: str) -> None:
    assert keyring.export_user("anna", PASSPHRASE, CHEAP) != exported


def test_the_default_cost_is_used_where_none_is_given(keyring: Keyring, elsewhere: Keyring) -> None:
    text = keyring.export_user("me", PASSPHRASE)
    assert elsewhere.import_user(text, PASSPHRASE, "other").address == keyring.users[0].address


def test_a_user_can_come_under_another_name(exported: str, elsewhere: Keyring) -> None:
    elsewhere.add_user("anna")
    with pytest.raises(NameRefusedError, match="choose another name"):
        elsewhere.import_user(exported, PASSPHRASE)
    assert elsewhere.import_user(exported, PASSPHRASE, "anna2").name == "anna2"
    with pytest.raises(NameRefusedError):
        elsewhere.import_user(exported, PASSPHRASE, "Bad Name")


def test_an_import_asks_for_no_more_memory_than_it_may_have(exported: str, elsewhere: Keyring) -> None:
    with pytest.raises(ExportError, match="larger machine"):
        elsewhere.import_user(exported, PASSPHRASE, memory_kib=7)
    assert elsewhere.import_user(exported, PASSPHRASE, memory_kib=8).name == "anna"


def test_a_key_that_is_here_is_not_imported_again(keyring: Keyring, exported: str) -> None:
    with pytest.raises(KeyringError, match="here already, as user anna"):
        keyring.import_user(exported, PASSPHRASE, "anna2")


def test_the_nodes_key_never_becomes_a_users(keyring: Keyring) -> None:
    data = keyring_data.encode_user(keyring_data.User("evil", keyring.node))
    text = seal_export(data, PASSPHRASE, salt=bytes(16), nonce=bytes(12), cost=CHEAP)
    with pytest.raises(KeyringError, match="node's own"):
        keyring.import_user(text, PASSPHRASE)


def test_a_full_node_takes_no_import(exported: str, elsewhere: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    for number in range(MAX_USERS - 1):
        elsewhere.add_user(f"user{number}")
    with pytest.raises(LimitReachedError):
        elsewhere.import_user(exported, PASSPHRASE)


def test_imports_that_fail_change_nothing(exported: str, elsewhere: Keyring) -> None:
    before = content(elsewhere.path)
    attempts: list[tuple[str, str, type[QpqError]]] = [
        (exported, "wrong horse", AuthenticationError),
        (exported, "short", PassphraseError),
        (exported[:-1], PASSPHRASE, CryptoError),
        (exported[:60], PASSPHRASE, ExportError),
        ("", PASSPHRASE, ExportError),
        ("qpq-identity-1:" + "/" * 12 + exported[27:], PASSPHRASE, ExportError),
    ]
    for text, passphrase, error in attempts:
        with pytest.raises(error):
            elsewhere.import_user(text, passphrase)
    assert content(elsewhere.path) == before
    assert len(elsewhere.users) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"format":1,"user":[]}',
        b'{"format":2,"user":{}}',
        b'{"format":1,"user":{"name":"x"}}',
    ],
)
def test_a_hostile_export_under_a_right_passphrase_is_refused(elsewhere: Keyring, data: bytes) -> None:
    text = seal_export(data, PASSPHRASE, salt=bytes(16), nonce=bytes(12), cost=CHEAP)
    with pytest.raises(ContentError):
        elsewhere.import_user(text, PASSPHRASE)


def test_an_exported_name_with_control_characters_is_refused(keyring: Keyring, elsewhere: Keyring) -> None:
    keyring.name_peer("me", BOB, "XXXX")
    data = keyring_data.encode_user(keyring.user("me")).replace(b"XXXX", rb"\u001b[2J")
    text = seal_export(data, PASSPHRASE, salt=bytes(16), nonce=bytes(12), cost=CHEAP)
    with pytest.raises(ContentError, match="visible characters"):
        elsewhere.import_user(text, PASSPHRASE)


def test_a_stamp_of_nothing_is_none(path: str) -> None:
    assert keyring_file.stamp_of(path) is None
