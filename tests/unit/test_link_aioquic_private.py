"""Fails by name when a new aioquic changes a private part that qpq.link.aioquic_private uses."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioquic
import pytest
from aioquic import tls
from aioquic.quic import connection, packet_builder
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import AEAD, CryptoPair, HeaderProtection
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketRecovery, QuicPacketSpace
from aioquic.quic.stream import QuicStream, QuicStreamReceiver, QuicStreamSender
from link_world import linked

from qpq.link import aioquic_private, aioquic_private_packets, aioquic_private_recovery, aioquic_private_tls
from qpq.link.aioquic_private_tls import LinkContext
from qpq.wire.frames import Receipt

if TYPE_CHECKING:
    from qpq.link.aioquic_private import LinkConnection

SOURCES = [
    Path(module.__file__)
    for module in (aioquic_private, aioquic_private_packets, aioquic_private_recovery, aioquic_private_tls)
]
LINK = SOURCES[0].parent

# What is called or overridden: its parameters, as this program passes or takes them.
METHODS: dict[Any, dict[str, tuple[str, ...]]] = {
    QuicConnection: {
        "_initialize": ("peer_cid",),
        "_alpn_handler": ("alpn_protocol",),
        "_handle_session_ticket": ("session_ticket",),
        "_update_traffic_key": ("direction", "epoch", "cipher_suite", "secret"),
        "_handle_crypto_frame": ("context", "frame_type", "buf"),
        "_replenish_connection_ids": (),
        "_write_connection_limits": ("builder", "space"),
        "_write_handshake": ("builder", "epoch", "now"),
        "_write_stream_limits": ("builder", "space", "stream"),
        "_write_stream_frame": ("builder", "space", "stream", "max_offset"),
        "_on_max_stream_data_delivery": ("delivery", "stream"),
        "_idle_timeout": (),
        "get_timer": (),
        "_on_ack_delivery": ("delivery", "space", "highest_acked"),
        "_payload_received": ("context", "plain"),
        "datagrams_to_send": ("now",),
        "receive_datagram": ("data", "addr", "now"),
    },
    CryptoPair: {
        "decrypt_packet": ("packet", "encrypted_offset", "expected_packet_number"),
        "encrypt_packet": ("plain_header", "plain_payload", "packet_number"),
    },
    AEAD: {
        "decrypt": ("data", "associated_data", "packet_number"),
        "encrypt": ("data", "associated_data", "packet_number"),
    },
    HeaderProtection: {"_mask": ("sample",)},
    QuicPacketPacer: {"next_send_time": ("now",), "update_after_send": ("now",)},
    QuicPacketRecovery: {
        "on_ack_received": ("ack_rangeset", "ack_delay", "now", "space"),
        "on_packet_sent": ("packet", "space"),
        "on_loss_detection_timeout": ("now",),
        "get_probe_timeout": (),
        "_detect_loss": ("now", "space"),
        "_on_packets_lost": ("congestion_event", "now", "packets", "persistent_congestion", "space"),
    },
    tls.Context: {
        "_set_peer_certificate": ("certificate",),
        "_server_handle_certificate": ("input_buf",),
        "_handle_reassembled_message": ("message_type", "input_buf", "output_buf"),
    },
    QuicStreamSender: {
        "get_frame": ("max_size", "max_offset"),
        "on_data_delivery": ("delivery", "start", "stop", "fin"),
    },
    QuicStreamReceiver: {"starting_offset": ()},
    packet_builder.QuicPacketBuilder: {"start_frame": ("frame_type", "capacity", "handler", "handler_args")},
}
# What is read or set on a living link: where it is, and its names.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "": (
        "_ack_delay", "_ack_eliciting_sent_since_receipt", "_close_at", "_close_event", "_close_pending",
        "_crypto_buffers", "_crypto_streams", "_cryptos", "_events", "_handshake_complete",
        "_handshake_confirmed", "_handshake_done_pending", "_host_cid_seq", "_host_cids", "_is_client",
        "_local_ack_delay_exponent", "_local_active_connection_id_limit", "_local_initial_source_connection_id",
        "_local_max_data", "_local_max_streams_bidi", "_local_max_streams_uni", "_logger", "_loss", "_loss_at",
        "_max_datagram_size", "_network_paths", "_original_destination_connection_id", "_pacing_at",
        "_packet_number", "_peer_cid", "_probe_pending", "_remote_ack_delay_exponent",
        "_remote_active_connection_id_limit", "_remote_max_data", "_remote_max_data_used", "_retire_connection_ids",
        "_spaces", "_spin_bit", "_spin_highest_pn", "_state", "_streams", "host_cid", "tls",
    ),
    "_local_max_data": ("used",),
    "_loss": (
        "_logger", "_pacer", "_pto_count", "_rtt_initialized", "_rtt_min", "_rtt_smoothed",
        "_time_of_last_sent_ack_eliciting_packet", "bytes_in_flight",
        "congestion_window",
    ),
    "_local_max_streams_bidi": ("sent", "value"),
    "_host_cids.0": ("cid", "was_sent"),
    "_network_paths.0": ("addr", "bytes_sent", "is_validated", "remote_challenges"),
    "_one_rtt": ("_update_key_requested", "key_phase", "recv", "send"),
    "_one_rtt.recv": ("aead", "hp", "key_phase"),
    "_one_rtt.send": ("aead", "hp"),
    "_one_rtt.recv.hp": ("_mask",),
    "_streams.0": (
        "is_blocked", "max_stream_data_local", "max_stream_data_local_sent", "max_stream_data_remote", "receiver",
        "sender", "stream_id",
    ),
    "_streams.0.receiver": ("_buffer", "_buffer_start", "_final_size", "highest_offset", "stop_pending"),
    "_streams.0.sender": (
        "_buffer_start", "_buffer_stop", "_pending", "buffer_is_empty", "highest_offset", "next_offset",
        "reset_pending",
    ),
    "_space": (
        "ack_at", "ack_eliciting_in_flight", "ack_queue", "expected_packet_number", "largest_acked_packet",
        "largest_received_packet", "largest_received_time", "received_packets", "sent_packets",
    ),
    "tls": (
        "_cipher_suites", "_is_client", "_max_early_data", "_peer_certificate", "_receive_buffer",
        "_request_client_certificate", "_signature_algorithms", "_supported_groups", "early_data_accepted",
        "get_session_ticket_cb", "session_resumed", "state",
    ),
}  # fmt: skip


def test_this_is_the_aioquic_the_module_was_written_against() -> None:
    assert aioquic.__version__ == "1.7.2", "read the new version's changes, then this file and aioquic_private.py"


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in METHODS.items() for name in names])
def test_a_private_method_is_there_with_its_parameters(owner: Any, name: str) -> None:
    method = getattr(owner, name, None)
    assert method is not None, f"aioquic's {owner.__name__}.{name} is gone"
    parameters = tuple(inspect.signature(method).parameters)[1:]
    wanted = METHODS[owner][name]
    assert parameters[: len(wanted)] == wanted, f"aioquic's {owner.__name__}.{name} takes {parameters}, not {wanted}"


@pytest.fixture(scope="module")
def links() -> tuple[LinkConnection, LinkConnection]:
    world, anna, ben = linked()
    anna.hub.write(anna.up.link, [Receipt(((b"s" * 16, b"h" * 32),))])
    world.run(1)
    return anna.hub._links[1].quic, ben.hub._links[1].quic


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in ATTRIBUTES.items() for name in names])
def test_a_private_attribute_is_there_at_both_ends(
    links: tuple[LinkConnection, LinkConnection], path: str, name: str
) -> None:
    for link in links:
        found: Any = link
        for step in filter(None, path.split(".")):
            found = found[int(step)] if step.isdigit() else getattr(found, step)
        assert hasattr(found, name), f"aioquic's {type(found).__name__} has no {name} any more"


def test_every_private_name_in_use_is_in_these_tables() -> None:
    known = (
        {"_datagram_needs_padding"}
        | {name for names in METHODS.values() for name in names}
        | {n for names in ATTRIBUTES.values() for n in names}
    )
    tree = ast.parse("\n".join(file.read_text().replace("from __future__ import annotations", "") for file in SOURCES))
    own = {"_hooks", "_trust", "_window", "_acknowledged_up_to", "_space", "_crypto_stream", "_one_rtt", "_redeem"}
    own |= {"_packets", "_acknowledged", "_active", "_left"}
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }
    assert not used - known - own, "add these to the tables of this test"


def test_no_other_file_of_the_room_touches_private_parts() -> None:
    for file in LINK.glob("*.py"):
        if file in SOURCES:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                assert isinstance(node.value, ast.Name), f"{file.name}:{node.lineno} reaches into {node.attr}"
                assert node.value.id in {"self", "cls"}, f"{file.name}:{node.lineno} reaches into {node.attr}"


def test_the_context_is_made_where_its_class_can_be_chosen(links: tuple[LinkConnection, LinkConnection]) -> None:
    for link in links:
        assert type(link.tls) is LinkContext
    assert "tls.Context(" in inspect.getsource(QuicConnection._initialize)


def test_what_is_offered_is_what_the_design_wants(links: tuple[LinkConnection, LinkConnection]) -> None:
    for link in links:
        assert link.tls._supported_groups == [tls.Group.X25519]
        assert link.tls._signature_algorithms == [tls.SignatureAlgorithm.ED25519]
        assert link.tls._cipher_suites == [tls.CipherSuite.CHACHA20_POLY1305_SHA256]
        assert not link.tls.early_data_accepted
        assert link._space is link._spaces[tls.Epoch.ONE_RTT]
    assert links[0]._remote_max_streams_bidi == 1
    assert links[1]._remote_max_streams_bidi == 0
    assert {link._remote_max_streams_uni for link in links} == {0}
    assert {link._remote_max_datagram_frame_size for link in links} == {None}
    assert {link._remote_active_connection_id_limit for link in links} == {2}


def test_a_link_keeps_no_buffers_of_its_handshake(links: tuple[LinkConnection, LinkConnection]) -> None:
    assert "output_buf[Epoch.ONE_RTT]" in inspect.getsource(tls.Context._handle_reassembled_message)
    for link in links:
        assert link._crypto_buffers == {}


def test_the_client_stays_silent_about_0_rtt(links: tuple[LinkConnection, LinkConnection]) -> None:
    assert links[1].tls._max_early_data is None
    parameter = inspect.signature(tls.Context.__init__).parameters["max_early_data"]
    assert parameter.default is None


def test_the_library_still_waits_for_a_certificate_that_a_resumed_client_never_sends() -> None:
    """When this fails, the library may have mended it: see whether ``_redeem`` can go."""
    source = inspect.getsource(tls.Context._server_handle_hello)
    assert (
        "if self._request_client_certificate:\n            self._set_state(State.SERVER_EXPECT_CERTIFICATE)" in source
    )


def test_the_library_still_doubles_its_windows_for_ever() -> None:
    """When this fails, the library may have mended it: see whether ``_write_stream_limits`` can go."""
    assert "stream.max_stream_data_local *= 2" in inspect.getsource(QuicConnection._write_stream_limits)


def test_a_packet_builder_says_whether_it_will_pad() -> None:
    builder = packet_builder.QuicPacketBuilder(
        host_cid=b"", is_client=True, max_datagram_size=1200, peer_cid=b"", version=1
    )
    assert builder._datagram_needs_padding is False


def test_values_have_the_shape_that_is_relied_on() -> None:
    assert {"error_code", "frame_type", "reason_phrase"} <= {
        field.name for field in dataclasses.fields(connection.events.ConnectionTerminated)
    }
    assert {"cid", "sequence_number", "stateless_reset_token"} <= {
        field.name for field in dataclasses.fields(connection.QuicConnectionId)
    }
    assert hasattr(QuicPacketSpace(), "ack_at")
    assert "max_ack_delay=25" in inspect.getsource(QuicConnection._serialize_transport_parameters)
    assert isinstance(QuicStream(stream_id=0).sender, QuicStreamSender)
    assert "max_ack_delay" in vars(
        QuicPacketRecovery(
            congestion_control_algorithm="reno",
            initial_rtt=0.1,
            max_datagram_size=1200,
            peer_completed_address_validation=True,
            send_probe=lambda: None,
        )
    )


def test_links_load_neither_http_nor_its_compression_nor_aioquics_own_asyncio() -> None:
    code = (
        "import sys; import qpq.link.hub; "
        "print(*[name for name in sys.modules if name.startswith(('pylsqpack', 'aioquic'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": str(LINK.parents[1])},
    )
    loaded = set(done.stdout.split())
    assert "aioquic.quic.connection" in loaded
    assert not loaded & {
        "pylsqpack",
        "aioquic.asyncio",
        "aioquic.asyncio.server",
        "aioquic.h3.connection",
        "aioquic.h0",
    }
