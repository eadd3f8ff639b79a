"""The one table of console commands; parser, help, completion and the restricted console read it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from qpq.console.values import Kind


class Role(Enum):
    """The least role the daemon asks for (it decides; the console only tells)."""

    READ = "read-only"
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Argument:
    """A word after the command; ``rest`` takes everything that follows as one text."""

    name: str
    kind: Kind
    required: bool = True
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """``--name VALUE`` (or ``--name`` alone when ``kind`` is None)."""

    name: str
    kind: Kind | None
    help: str

    def usage(self) -> str:
        """Return the option as it is written."""
        return f"{self.name} {self.kind.value.upper()}" if self.kind else self.name


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, what follows them, the control command behind it, who may use it."""

    words: tuple[str, ...]
    control: str
    role: Role
    help: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    restricted: bool = False
    interactive: bool = False

    @property
    def name(self) -> str:
        """The words as one text, without a slash."""
        return " ".join(self.words)

    def usage(self, *, options: bool = True) -> str:
        """Return the command as it is written, with or without its options."""
        parts = [self.name, *map(_shown, self.arguments)]
        if options:
            parts += [f"[{option.usage()}]" for option in self.options]
        return " ".join(parts)


def _shown(argument: Argument) -> str:
    shown = argument.kind.value if argument.kind is Kind.ADDRESS else argument.name
    name = f"<{shown}{'...' if argument.rest else ''}>"
    return name if argument.required else f"[{name}]"


_PEER = Argument("peer", Kind.PEER)
_USER = Argument("name", Kind.USER)
_TOPIC = Argument("topic", Kind.TOPIC)
_LIMIT = Option("--limit", Kind.COUNT, "show at most so many (default 40)")
_DAYS = Option("--days", Kind.COUNT, "valid for so many days (default 90; an authority 3650)")
_YES = Option("--yes", None, "do not ask")
_SECRET = Option("--passphrase-stdin", None, "read the passphrase from the first line of standard input")

COMMANDS: tuple[Command, ...] = (
    Command(
        ("mesh", "peers"), "mesh.peers", Role.READ, "list the peers: state, round trip, how found, users",
        restricted=True,
    ),
    Command(
        ("mesh", "server"), "mesh.server", Role.ADMIN, "dial a node and keep the link",
        (Argument("address", Kind.ADDRESS),),
    ),
    Command(
        ("mesh", "forget"), "mesh.forget", Role.ADMIN, "dial a node given with server no more",
        (Argument("address", Kind.ADDRESS),),
    ),
    Command(
        ("mesh", "send"), "mesh.send", Role.USER, "send a message, sealed for the peer; - reads standard input",
        (_PEER, Argument("text", Kind.TEXT, required=False, rest=True)),
        (
            Option("--file", Kind.FILE, "send what the file holds"),
            Option("--ttl", Kind.TTL, "give up after 7d, 12h, 90m or so many seconds"),
            Option("--urgent", None, "ahead of other messages"),
            Option("--wait", Kind.SECONDS, "wait so long for the receipt; fail when it does not come"),
        ),
        restricted=True,
    ),
    Command(
        ("mesh", "inbox"), "mesh.inbox", Role.USER, "show what has come",
        (),
        (
            Option("--all", None, "everything, not only the newest"),
            _LIMIT,
            Option("--watch", None, "stay and show what comes"),
        ),
        restricted=True,
    ),
    Command(("mesh", "outbox"), "mesh.outbox", Role.USER, "show what was sent and how far it came", restricted=True),
    Command(
        ("mesh", "delete"), "mesh.delete", Role.USER, "delete a message of the inbox or outbox",
        (Argument("message", Kind.MESSAGE),), restricted=True,
    ),
    Command(("mesh", "block"), "mesh.block", Role.USER, "accept nothing more from a peer", (_PEER,), restricted=True),
    Command(
        ("mesh", "unblock"), "mesh.unblock", Role.USER, "accept messages of a peer again", (_PEER,), restricted=True
    ),
    Command(
        ("mesh", "mute"), "mesh.mute", Role.USER, "keep a peer's messages but do not announce them",
        (_PEER,), restricted=True,
    ),
    Command(
        ("mesh", "unmute"), "mesh.unmute", Role.USER, "announce a peer's messages again", (_PEER,), restricted=True
    ),
    Command(
        ("mesh", "identity"), "mesh.identity", Role.READ, "show id, QR code and users of this node",
        (), (Option("--no-qr", None, "without the QR code"),), restricted=True,
    ),
    Command(
        ("mesh", "name"), "mesh.name", Role.USER, "give a peer a petname; without one it is taken away",
        (_PEER, Argument("petname", Kind.PETNAME, required=False)), restricted=True,
    ),
    Command(
        ("mesh", "subscribe"), "mesh.subscribe", Role.USER, "read a channel: an open one by its topic, or a shared one",
        (Argument("topic", Kind.CHANNEL),),
        (
            Option("--key", Kind.KEY, "the key or the text that somebody shared"),
            Option("--private", None, "a private channel; without a key a new one"),
            Option("--announce", None, "a new channel in which only you are heard"),
        ),
        restricted=True,
    ),
    Command(
        ("mesh", "unsubscribe"), "mesh.unsubscribe", Role.USER, "read a channel no more; its key is forgotten",
        (_TOPIC,), restricted=True,
    ),
    Command(
        ("mesh", "channels"), "mesh.channels", Role.USER, "list the channels you read",
        (), (Option("--share", Kind.TOPIC, "show the text and the QR code that let others read this one"),),
        restricted=True,
    ),
    Command(
        ("mesh", "broadcast"), "mesh.broadcast", Role.USER, "send to all who read a channel; - reads standard input",
        (_TOPIC, Argument("text", Kind.TEXT, required=False, rest=True)),
        (
            Option("--file", Kind.FILE, "send what the file holds"),
            Option("--ttl", Kind.TTL, "for newcomers for 7d, 12h, 90m or so many seconds"),
        ),
        restricted=True,
    ),
    Command(
        ("mesh", "route"), "mesh.route", Role.READ, "list the ways to users beyond the neighbours", restricted=True
    ),
    Command(
        ("mesh", "ping"), "mesh.ping", Role.USER, "ask whether a peer can be reached, and how far it is",
        (_PEER,), restricted=True,
    ),
    Command(
        ("mesh", "trace"), "mesh.trace", Role.USER, "the same, with the nodes on the way", (_PEER,), restricted=True
    ),
    Command(
        ("mesh", "store"), "mesh.store", Role.READ, "show what is kept: own messages, others', room", restricted=True
    ),
    Command(("mesh", "user", "list"), "mesh.user.list", Role.READ, "list the users of this node"),
    Command(("mesh", "user", "add"), "mesh.user.add", Role.ADMIN, "make a user with an own identity", (_USER,)),
    Command(
        ("mesh", "user", "remove"), "mesh.user.remove", Role.ADMIN, "remove a user with inbox and outbox", (_USER,)
    ),
    Command(
        ("mesh", "user", "export"), "mesh.user.export", Role.ADMIN, "write a user's identity, sealed with a passphrase",
        (_USER,), (Option("--file", Kind.FILE, "into a new file (mode 0600)"), _SECRET),
    ),
    Command(
        ("mesh", "user", "import"), "mesh.user.import", Role.ADMIN, "bring in an exported user, perhaps renamed",
        (Argument("name", Kind.USER, required=False),),
        (Option("--file", Kind.FILE, "from the file (else standard input)"), _SECRET),
    ),
    Command(
        ("client", "token", "add"), "client.token.add", Role.ADMIN, "make an access token for a client, shown once",
        (_USER, Argument("key", Kind.KEY, required=False)),
    ),
    Command(("client", "token", "list"), "client.token.list", Role.ADMIN, "list the access tokens, without the secret"),
    Command(
        ("client", "token", "revoke"), "client.token.revoke", Role.ADMIN, "take an access token away, at once",
        (Argument("id", Kind.TOKEN),),
    ),
    Command(
        ("verify",), "verify", Role.USER, "show the safety number with a peer; with what the peer shows: compare",
        (_PEER, Argument("number", Kind.TEXT, required=False, rest=True)),
        (
            Option("--accept", None, "accept the new key that claims this petname, without comparing"),
            Option("--undo", None, "keep the old key; else: this peer is not verified any more"),
        ),
        restricted=True,
    ),
    Command(
        ("privacy",), "privacy", Role.USER, "show or switch what hides the length of your messages, and its cost",
        (Argument("setting", Kind.SETTING, required=False), Argument("value", Kind.SWITCH, required=False)),
        restricted=True,
    ),
    Command(
        ("lock", "set"), "lock.set", Role.ADMIN, "put the keys and messages on disk under a passphrase, or another one",
        (), (_SECRET,),
    ),
    Command(
        ("lock", "key-file"), "lock.key_file", Role.ADMIN, "put them under a key file; one is made if there is none",
        (Argument("path", Kind.FILE),),
    ),
    Command(("lock", "off"), "lock.off", Role.ADMIN, "take the passphrase or key file away", (), (_YES,)),
    Command(("unlock",), "unlock", Role.ADMIN, "open a node that waits for its passphrase", (), (_SECRET,)),
    Command(("wipe",), "wipe", Role.ADMIN, "destroy the keys, then everything this node keeps", (), (_YES,)),
    Command(
        ("federation", "status"), "federation.status", Role.READ, "show this domain's key, the relays and what waits"
    ),
    Command(
        ("federation", "name", "add"), "federation.name.add", Role.ADMIN,
        "let other domains find a user of this mesh by name", (_USER, Argument("key", Kind.KEY)),
    ),
    Command(("federation", "name", "list"), "federation.name.list", Role.ADMIN, "list these names"),
    Command(("federation", "name", "remove"), "federation.name.remove", Role.ADMIN, "forget one", (_USER,)),
    Command(
        ("federation", "ca", "init"), "", Role.ADMIN, "make an authority for relays, in a new directory",
        (Argument("dir", Kind.FILE), Argument("name", Kind.TEXT, required=False, rest=True)), (_DAYS,),
    ),
    Command(
        ("federation", "ca", "issue"), "", Role.ADMIN, "write a relay's certificate: its domain, and its key's id",
        (Argument("dir", Kind.FILE), Argument("domain", Kind.FILE), Argument("id", Kind.FILE)), (_DAYS,),
    ),
    Command(
        ("federation", "ca", "renew"), "", Role.ADMIN, "write the same certificate with new dates",
        (Argument("dir", Kind.FILE), Argument("domain", Kind.FILE)), (_DAYS,),
    ),
    Command(
        ("federation", "ca", "show"), "", Role.ADMIN, "show what the certificates in a file say",
        (Argument("file", Kind.FILE),),
    ),
    Command(("status",), "status", Role.READ, "show what the node does", restricted=True),
    Command(("version",), "version", Role.READ, "show the version", restricted=True),
    Command(("doctor",), "doctor", Role.READ, "look for what is wrong, and say what to do"),
    Command(("metrics",), "metrics", Role.READ, "print the counters for Prometheus"),
    Command(("watch",), "watch", Role.READ, "show messages, states and peers as they come", restricted=True),
    Command(
        ("help",), "", Role.READ, "show this, or one command",
        (Argument("command", Kind.COMMAND, required=False, rest=True),), restricted=True,
    ),
    Command(
        ("to",), "", Role.USER, "plain text goes to this peer from now on; without a peer: to nobody",
        (Argument("peer", Kind.PEER, required=False),), restricted=True, interactive=True,
    ),
    Command(("quit",), "", Role.READ, "leave the console", restricted=True),
)  # fmt: skip

GLOBAL_OPTIONS: tuple[Option, ...] = (
    Option("--json", None, "print the control document instead of text"),
    Option("--user", Kind.USER, "act as this user of the node (also QPQ_USER; default: the first)"),
    Option("--socket", Kind.FILE, "the daemon's control socket (also QPQ_SOCKET)"),
    Option("--data-dir", Kind.FILE, "the node's data directory (also QPQ_DATA_DIR)"),
    Option("--config", Kind.FILE, "the daemon's configuration (also QPQ_CONFIG)"),
    Option("--history", Kind.FILE, "keep typed lines in this file, mode 0600 (also QPQ_HISTORY)"),
    Option("--restricted", None, "a console for people who must not get a shell"),
    Option("--as", Kind.USER, "with --restricted: the user"),
    Option("--help", None, "show help"),
    Option("--version", None, "show the version"),
)
PER_COMMAND: tuple[Option, ...] = GLOBAL_OPTIONS[:2]


def available(*, restricted: bool, interactive: bool) -> tuple[Command, ...]:
    """Return the commands of one kind of console."""
    return tuple(
        command
        for command in COMMANDS
        if (command.restricted or not restricted) and (interactive or not command.interactive)
    )
