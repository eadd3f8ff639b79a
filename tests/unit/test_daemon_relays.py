"""Sections ``config relay``: read strictly, each fault told with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import SecretIdentity, text_id
from qpq.daemon import config
from qpq.daemon.config import ConfigError, reloaded
from qpq.daemon.relay_options import RELAY_OPTIONS, RelayConfig

if TYPE_CHECKING:
    from qpq.daemon.options import Config

HOME = {"HOME": "/home/anna"}
KEY = text_id(SecretIdentity(b"k" * 32).identity)


def load(text: str) -> Config:
    return config.load([], HOME, lambda _: text.encode()).config


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return str(caught.value).splitlines()


def test_without_sections_there_are_no_relays() -> None:
    assert load("config qpq 'main'\n").relays == ()


def test_a_section_says_all_of_a_relay() -> None:
    text = f"""
config qpq 'main'
    option domain 'aachen.example'
config relay 'berlin'
    option domain 'berlin.example'
    list key '{KEY}'
    list address 'relay.berlin.example:7000'
    list address '[2001:db8::1]:7000'
    list carries 'munich.example'
    list topic 'rheinland'
    option transit '1'
config relay
    option domain 'chemnitz.example'
"""
    one, two = load(text).relays
    assert one == RelayConfig(
        "berlin",
        "/etc/config/qpq:4",
        "berlin.example",
        (KEY,),
        ("relay.berlin.example:7000", "[2001:db8::1]:7000"),
        ("munich.example",),
        transit=True,
        topic=("rheinland",),
    )
    assert (two.name, two.domain, two.key, two.transit) == ("", "chemnitz.example", (), False)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("option domain 'Berlin.example'", "is no domain"),
        ("option transit '1'", "is no domain"),
        ("option domain 'b.example'\n list carries 'x y'", "not allowed for carries"),
        ("option domain 'b.example'\n list carries 'X.example'", "is no domain"),
        ("option domain 'b.example'\n list key 'abc'", "an id has 52 characters"),
        ("option domain 'b.example'\n option key 'abc'", "list key"),
        ("option domain 'b.example'\n list address 'b:x'", "not allowed for address"),
        ("option domain 'b.example'\n option adress 'b:1'", "did you mean address?"),
        ("option domain 'b.example'\n option transit 'perhaps'", "not allowed for transit"),
        ("option domain 'b.example'\n list topic 'two words'", "not allowed for topic"),
    ],
)
def test_a_fault_names_its_place(section: str, words: str) -> None:
    found = faults(f"config relay 'b'\n {section}\n")
    assert len(found) == 1
    assert found[0].startswith("/etc/config/qpq:")
    assert words in found[0]


def test_a_domain_has_one_section() -> None:
    text = "config relay 'a'\n option domain 'b.example'\nconfig relay 'b'\n option domain 'b.example'\n"
    (fault,) = faults(text)
    assert fault.startswith("/etc/config/qpq:3: b.example has a relay in /etc/config/qpq:1;")


def test_there_are_64_relays_at_most() -> None:
    text = "".join(f"config relay 'r{n}'\n option domain 'r{n}.example'\n" for n in range(65))
    assert faults(text) == ["/etc/config/qpq:129: more than 64 relays"]


def test_another_kind_of_section_is_told_what_is_allowed() -> None:
    assert "allowed: config qpq 'main' and config relay" in faults("config gateway 'x'\n")[0]


def test_relays_are_taken_over_without_a_restart() -> None:
    before, after = load("config qpq 'main'\n"), load("config relay 'b'\n option domain 'b.example'\n")
    taken, left = reloaded(before, after)
    assert taken.relays == after.relays
    assert left == ()


def test_the_table_has_a_field_for_each_option() -> None:
    names = [name for name in RelayConfig.__slots__ if name not in {"name", "where"}]
    assert names == [option.name for option in RELAY_OPTIONS]
