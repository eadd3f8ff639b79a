"""``qpq federation ca``: an authority in one command, and what the federation options make of its files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from console_run import Command

from qpq.crypto.identity import SecretIdentity, text_id
from qpq.daemon import federation_files
from qpq.daemon.federation_files import FederationConfigError, complaints, days_left, is_wanted, load, utc
from qpq.daemon.histogram import BOUNDS, Histogram
from qpq.daemon.main import authority
from qpq.daemon.options import Config
from qpq.daemon.relay_options import RelayConfig
from qpq.errors import QpqError
from qpq.federation.authority import key_file, make_authority, to_pem
from qpq.federation.path import check_chain
from qpq.federation.x509 import SERVER_AUTH

if TYPE_CHECKING:
    from pathlib import Path

RELAY = SecretIdentity(b"r" * 32)
ID = text_id(RELAY.identity)


def made(path: Path, days: int = 0, domain: str = "aachen.example") -> Config:
    """Make an authority and a certificate and return a configuration that names both."""
    directory = str(path / "ca")
    authority("init", {"dir": directory, "name": "Freifunk"}, 0)
    authority("issue", {"dir": directory, "domain": domain, "id": ID}, days)
    return Config(
        domain=domain,
        federation_ca=f"{directory}/ca.pem",
        federation_certificate=f"{directory}/{domain}.pem",
    )


def test_what_is_made_is_believed_and_only_the_key_is_kept_from_others(tmp_path: Path) -> None:
    settings = load(made(tmp_path), RELAY.identity)
    leaf = check_chain([settings.chain[0].der], settings.authorities, SERVER_AUTH, utc(time.time()))
    assert leaf.domain == "aachen.example"
    assert os.stat(tmp_path / "ca/ca.key").st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "ca/ca.pem").st_mode & 0o777 == 0o644
    assert sorted(os.listdir(tmp_path / "ca")) == ["aachen.example.pem", "ca.key", "ca.pem"]


def test_openssl_believes_it_too(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    config = made(tmp_path)
    argv = ["openssl", "verify", "-x509_strict", "-CAfile", config.federation_ca, config.federation_certificate]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


def test_an_authority_is_never_overwritten(tmp_path: Path) -> None:
    made(tmp_path)
    before = (tmp_path / "ca/ca.key").read_text()
    with pytest.raises(FederationConfigError, match="has an authority already"):
        authority("init", {"dir": str(tmp_path / "ca"), "name": ""}, 0)
    assert (tmp_path / "ca/ca.key").read_text() == before


def test_renewal_keeps_domain_and_key_and_changes_the_dates(tmp_path: Path) -> None:
    config = made(tmp_path, days=5)
    assert days_left(load(config, RELAY.identity).chain[0]) == 5
    shown: Any = authority("renew", {"dir": str(tmp_path / "ca"), "domain": "aachen.example"}, 60)
    assert shown["certificates"][0]["days_left"] == 60
    leaf = load(config, RELAY.identity).chain[0]
    assert (leaf.domain, leaf.key, days_left(leaf)) == ("aachen.example", RELAY.identity, 60)
    assert authority("show", {"file": config.federation_certificate}, 0) == shown


@pytest.mark.parametrize(
    ("action", "words", "reason"),
    [
        ("issue", {"domain": "a.example", "id": "abc"}, "an id has 52 characters"),
        ("issue", {"domain": "A.example", "id": ID}, "is no domain"),
        ("issue", {"domain": "../../etc/x", "id": ID}, "is no domain"),
        ("renew", {"domain": "b.example"}, "cannot be read: No such file"),
        ("show", {"file": "/nowhere"}, "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done_says_why(action: str, words: dict[str, str], reason: str, tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(QpqError, match=reason):
        authority(action, {"dir": str(tmp_path / "ca"), **words}, 0)


def test_a_directory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FederationConfigError, match="cannot be written"):
        authority("init", {"dir": str(tmp_path / "file/ca"), "name": ""}, 0)
    made(tmp_path)
    (tmp_path / "ca/b.example.pem.new").mkdir()
    with pytest.raises(FederationConfigError, match="cannot be written"):
        authority("issue", {"dir": str(tmp_path / "ca"), "domain": "b.example", "id": ID}, 0)


def test_the_console_carries_it_out_without_a_daemon(tmp_path: Path) -> None:
    directory = str(tmp_path / "ca")
    run = Command(tmp_path, str(tmp_path / "nobody.sock"))
    made_ = run("federation", "ca", "init", directory, "Freifunk", "Rheinland")
    assert made_.status == 0, made_
    issued = run("--json", "federation", "ca", "issue", directory, "aachen.example", ID, "--days", "7")
    assert json.loads(issued.out)["certificates"][0]["days_left"] == 7
    shown = run("federation", "ca", "show", f"{directory}/aachen.example.pem")
    assert "domain aachen.example" in shown.out
    again = run("federation", "ca", "init", directory)
    assert again.status == 1
    assert "has an authority already" in again.err


# --- the options ------------------------------------------------------------------------------


def relay(**changes: Any) -> RelayConfig:
    return RelayConfig(**({"name": "b", "where": "f:1", "domain": "berlin.example", "key": (ID,)} | changes))


def test_most_nodes_want_none_of_it() -> None:
    assert not is_wanted(Config())
    assert is_wanted(Config(relays=(relay(),)))
    assert is_wanted(Config(federation_ca="/x"))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Config(relays=(relay(),)), "need option domain"),
        (Config(domain="Aachen", relays=(relay(),)), "option domain: 'Aachen' is no domain"),
        (Config(domain="berlin.example", relays=(relay(),)), "is the own domain"),
        (Config(domain="a.example", relays=(relay(key=()),)), "write list key"),
        (Config(domain="a.example", federation_ca="/nowhere"), "federation_ca: /nowhere cannot be read"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(config: Config, reason: str) -> None:
    with pytest.raises(FederationConfigError, match=reason):
        load(config, SecretIdentity(b"o" * 32).identity)


def test_a_certificate_of_another_key_or_domain_is_refused_with_what_to_do(tmp_path: Path) -> None:
    config = made(tmp_path)
    with pytest.raises(FederationConfigError, match=r"qpq federation ca issue"):
        load(config, SecretIdentity(b"o" * 32).identity)
    other = Config(**{name: getattr(config, name) for name in Config.__slots__} | {"domain": "b.example"})
    with pytest.raises(FederationConfigError, match=r"is of aachen\.example"):
        load(other, RELAY.identity)


def test_sixteen_topics_can_be_shared() -> None:
    topics = tuple(f"topic-{number}" for number in range(17))
    relays = relay(topic=topics[:9]), relay(name="c", domain="c.example", topic=topics[7:16])
    settings = load(Config(domain="aachen.example", relays=relays), RELAY.identity)
    assert settings.topics == topics[:16]
    assert settings.relays[1].topics == topics[7:16]
    with pytest.raises(FederationConfigError, match="17 topics are shared; at most 16 can be"):
        load(Config(domain="aachen.example", relays=(relay(topic=topics),)), RELAY.identity)


def test_a_file_that_is_no_authority_is_refused(tmp_path: Path) -> None:
    config = made(tmp_path)
    wrong = Config(domain="aachen.example", federation_ca=config.federation_certificate)
    with pytest.raises(FederationConfigError, match="an issuer that is no authority"):
        load(wrong, RELAY.identity)
    for text in (
        "",
        key_file(b"k" * 32),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "x" * 70_000,
    ):
        (tmp_path / "bad.pem").write_text(text)
        with pytest.raises(FederationConfigError, match="federation_ca: "):
            load(Config(domain="aachen.example", federation_ca=str(tmp_path / "bad.pem")), RELAY.identity)


def test_production_says_all_that_is_too_weak(tmp_path: Path) -> None:
    config = made(tmp_path)
    settings = load(config, RELAY.identity)
    assert complaints(config, settings, durable=True, clock_trusted=True, exposed=False) == []
    os.chmod(config.federation_ca, 0o664)
    weak = Config(
        domain="aachen",
        federation_ca=config.federation_ca,
        log_level="debug",
        clock_trusted="yes",
        relays=(relay(transit=True),),
    )
    found = complaints(
        weak, load(weak, SecretIdentity(b"o" * 32).identity), durable=False, clock_trusted=False, exposed=True
    )
    for words in ("chmod go-w", "in RAM", "debug", "clock_trusted", "run NTP", "identities", "not a name", "transit"):
        assert any(words in line for line in found), words
    assert len(found) == 8


def test_days_are_counted_over_leap_years_and_centuries() -> None:
    for text in ("19700101", "20000229", "20240301", "21000228", "99991231"):
        day = int(text)
        seconds = federation_files._days(day // 10_000, day // 100 % 100, day % 100) * 86400
        assert utc(seconds) == day * 1_000_000, text


def test_an_authority_that_ends_soon_can_be_told(tmp_path: Path) -> None:
    now = time.time()
    der = make_authority(RELAY, "x", serial=bytes(16), not_before=utc(now - 90_000), not_after=utc(now - 86_400))
    (tmp_path / "ca.pem").write_text(to_pem("CERTIFICATE", der))
    settings = load(
        Config(domain="a.example", federation_ca=str(tmp_path / "ca.pem")), SecretIdentity(b"o" * 32).identity
    )
    assert days_left(settings.authorities[0]) == -1


def test_a_histogram_counts_what_was_no_longer_than_each_bound() -> None:
    histogram = Histogram("federation_relay_seconds", "Time.")
    for seconds in (0.0005, 0.001, 0.3, 100.0):
        histogram.observe(seconds)
    lines = histogram.render().splitlines()
    assert lines[1] == "# TYPE qpq_federation_relay_seconds histogram"
    assert lines[2] == 'qpq_federation_relay_seconds_bucket{le="0.001"} 2'
    assert 'qpq_federation_relay_seconds_bucket{le="0.5"} 3' in lines
    assert 'qpq_federation_relay_seconds_bucket{le="+Inf"} 4' in lines
    assert lines[-2:] == ["qpq_federation_relay_seconds_sum 100.301500", "qpq_federation_relay_seconds_count 4"]
    assert len(lines) == len(BOUNDS) + 5
