"""Routers as Gluon sets them up: a client bridge with batman-adv's port, the stock multicast filter, the mesh firewall.

The filter's rules are Gluon's own (gluon-ebtables, gluon-ebtables-filter-multicast), loaded with ebtables in the order
of their files. Two things differ. A kernel without NFT_BRIDGE_META knows no ``--logical-out br-client``; it is left
out, since the router has that bridge only. And there is no batman-adv here: ``bat0`` is a cable to a switch, and
batman-adv's treatment of the mark that the filter sets (delivered to the nodes that listen, if they are few; else not
at all) is one more chain behind the filter, with the groups in it that are said to have few listeners.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netns import Lab, Namespace, Segment

PREFIX = "fd00:7071:7170::"  # the site's prefix6, /64
FEW_LISTENERS = ("33:33:80:00:71:71",)
"""MAC addresses (RFC 2464 section 7) of groups that batman-adv delivers; ff02::fb, which phones join, is none."""

_MLD = (130, 131, 132, 143)  # query, report, done, report of version 2
_LOOPS = "-p ARP --arp-opcode Reply --arp-gratuitous"  # batman-adv's bridge loop avoidance
CHAINS = (
    "-N MULTICAST_IN -P RETURN -t nat", "-N MULTICAST_IN_ICMPV6 -P RETURN -t nat",
    "-N MULTICAST_OUT -P RETURN", "-N MULTICAST_OUT_ICMPV6 -P RETURN",
)  # fmt: skip
RULES = (
    # 105-mcast-drop-igmp-mld, with the site's default for membership reports
    "MULTICAST_IN -p IPv4 --ip-protocol igmp -j DROP -t nat",
    "MULTICAST_OUT -p IPv4 --ip-protocol igmp -j DROP",
    *(f"MULTICAST_OUT_ICMPV6 -p IPv6 --ip6-protocol ipv6-icmp --ip6-icmp-type {kind} -j DROP" for kind in _MLD),
    *(f"MULTICAST_IN_ICMPV6 -p IPv6 --ip6-protocol ipv6-icmp --ip6-icmp-type {kind} -j DROP -t nat" for kind in _MLD),
    # 110-mcast-allow-*
    f"MULTICAST_OUT {_LOOPS} --arp-mac-dst ff:43:05:00:00:00/ff:ff:ff:fc:00:00 -j RETURN",
    f"MULTICAST_OUT {_LOOPS} --arp-mac-dst ff:43:05:05:00:00/ff:ff:ff:ff:00:00 -j RETURN",
    "MULTICAST_OUT -p ARP --arp-opcode Reply --arp-ip-src 0.0.0.0 -j DROP",
    "MULTICAST_OUT -p ARP --arp-opcode Request --arp-ip-dst 0.0.0.0 -j DROP",
    "MULTICAST_OUT -p ARP -j RETURN",
    "MULTICAST_OUT -p IPv6 --ip6-protocol udp --ip6-destination-port 6696 -j RETURN",
    "MULTICAST_OUT -p IPv4 --ip-destination 239.192.152.143 --ip-protocol udp --ip-destination-port 6771 -j RETURN",
    "MULTICAST_OUT -p IPv4 --ip-protocol udp --ip-destination-port 67 -j RETURN",
    "MULTICAST_OUT -p IPv6 --ip6-protocol udp --ip6-destination-port 547 -j RETURN",
    "MULTICAST_OUT_ICMPV6 -p IPv6 --ip6-protocol ipv6-icmp --ip6-icmp-type echo-request -j RETURN",
    "MULTICAST_OUT_ICMPV6 -p IPv6 --ip6-protocol ipv6-icmp --ip6-icmp-type 139 -j RETURN",
    "MULTICAST_OUT_ICMPV6 -j ACCEPT",
    "MULTICAST_OUT -p IPv4 --ip-protocol igmp -j RETURN",
    "MULTICAST_OUT -p IPv4 --ip-destination 224.0.0.69 --ip-protocol udp --ip-destination-port 4403 -j RETURN",
    "MULTICAST_OUT -p IPv4 --ip-destination 239.0.0.69 --ip-protocol udp --ip-destination-port 4403 -j RETURN",
    "MULTICAST_OUT -p IPv4 --ip-protocol ospf -j RETURN",
    "MULTICAST_OUT -p IPv6 --ip6-protocol ospf -j RETURN",
    "MULTICAST_OUT -p IPv6 --ip6-protocol udp --ip6-destination-port 1001 --ip6-dst ff05::2:1001 -j RETURN",
    "MULTICAST_OUT -p IPv6 --ip6-protocol udp --ip6-destination ff02::9 --ip6-destination-port 521 -j RETURN",
    # 350-mcast-dir-rules
    "PREROUTING -d Multicast --logical-in br-client -i bat0 -j MULTICAST_IN -t nat",
    "OUTPUT -d Multicast --logical-out br-client -o bat0 -j MULTICAST_OUT",
    "FORWARD -d Multicast --logical-out br-client -o bat0 -j MULTICAST_OUT",
    "MULTICAST_IN -p IPv6 --ip6-protocol ipv6-icmp -j MULTICAST_IN_ICMPV6 -t nat",
    "MULTICAST_OUT -p IPv6 --ip6-protocol ipv6-icmp -j MULTICAST_OUT_ICMPV6",
    # 355-mcast-drop
    "MULTICAST_OUT -p IPv6 --ip6-dst ff02::1/128 -j DROP",
    "MULTICAST_OUT -p IPv6 --ip6-dst ff02::15c/128 -j DROP",
    "MULTICAST_OUT -p IPv6 --ip6-dst ff00::/8 -j mark --set-mark 0x4 --mark-target RETURN",
    "MULTICAST_OUT -j DROP",
)
BATMAN = (
    *(f"POSTROUTING -o bat0 --mark 0x4/0x4 -d {mac} -j ACCEPT -t nat" for mac in FEW_LISTENERS),
    "POSTROUTING -o bat0 --mark 0x4/0x4 -j DROP -t nat",
)


@cache
def why_not() -> str:
    """Say why such a router cannot be had here; nothing: it can."""
    missing = [tool for tool in ("ebtables-nft", "ip6tables", "unshare") if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: iptables, util-linux)"
    for line in (
        "ebtables-nft -t nat -A POSTROUTING -p IPv6 --mark 0x4/0x4 -j DROP",
        "ebtables-nft -A OUTPUT -p IPv6 --ip6-protocol udp --ip6-destination-port 1 -j mark --set-mark 0x4",
        "ip6tables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
    ):
        argv = ["unshare", "--net", *line.split()]
        if subprocess.run(argv, capture_output=True, check=False, timeout=20).returncode:
            return f"this kernel refuses: {line}"
    return ""


class Router:
    """A Gluon router in a namespace: ``br-client`` with ``bat0`` in it, on ``city`` (the mesh, one hop wide).

    ``number`` gives its address in the site's prefix. ``add_mesh`` gives it a radio.
    """

    def __init__(self, lab: Lab, city: Segment, number: int) -> None:
        self.machine: Namespace = lab.namespace(f"gluon{number}")
        ip = self.machine.ip
        ip("link", "add", "br-client", "type", "bridge", "mcast_snooping", "1", "mcast_querier", "1")
        city.attach(self.machine, "bat0", up=False)
        # as netifd does: a port has no address of its own, and hears all multicast (option multicast_router 2)
        self.machine.sysctl("net/ipv6/conf/bat0/disable_ipv6", 1)
        ip("link", "set", "bat0", "up", "master", "br-client")
        ip("link", "set", "bat0", "type", "bridge_slave", "mcast_router", "2")
        ip("link", "set", "br-client", "up")
        ip("address", "add", f"{PREFIX}{number}/64", "dev", "br-client", "nodad")
        self._filter()

    def link_local(self, interface: str = "br-client") -> str:
        return self.machine.link_local(interface)

    def counted(self, rule: str) -> int:
        """Return how many frames the rules of chain MULTICAST_OUT with ``rule`` in them have met."""
        listed = self.machine.run("ebtables-nft", "-L", "MULTICAST_OUT", "--Lc")
        return sum(
            int(count) for text, count in re.findall(r"^(.*?),? ?pcnt = (\d+)", listed, re.MULTILINE) if rule in text
        )

    def firewall(self, rules: list[dict[str, str]]) -> None:
        """Let in what Gluon's zone ``mesh`` does, and what ``rules`` (sections of /etc/config/firewall) add."""
        lines = [
            "-P INPUT DROP", "-A INPUT -i lo -j ACCEPT", "-A INPUT -p ipv6-icmp -j ACCEPT",
            "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
        ]  # fmt: skip
        for rule in rules:
            source = f"-s {rule['src_ip']}" if "src_ip" in rule else ""
            if rule["src"] == "mesh":
                lines.append(f"-A INPUT {source} -p {rule['proto']} --dport {rule['dest_port']} -j {rule['target']}")
        for line in lines:
            self.machine.run("ip6tables", *line.split())

    def _filter(self) -> None:
        for line in (*CHAINS, *(f"-A {rule}" for rule in (*RULES, *BATMAN))):
            self._ebtables(line.split())

    def _ebtables(self, words: list[str]) -> None:
        if "-t" in words:  # ebtables wants the table first
            at = words.index("-t")
            words = words[at : at + 2] + words[:at]
        argv = self.machine.command("ebtables-nft", *words)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
        logical = [n for n, word in enumerate(words) if word.startswith("--logical-")]
        if done.returncode and logical and "not supported" in done.stderr:
            self._ebtables(words[: logical[0]] + words[logical[0] + 2 :])
        elif done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stderr}")
