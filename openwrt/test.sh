#!/bin/sh
# shellcheck shell=dash  # what ash has too: local
#
# The feed's contract: called as root with the name of a package that has just been installed, and its version, in a
# root where nothing is started (no procd). Two nodes on loopback exchange a message; what is wrong must be refused.

set -eu

[ "$1" = qpq ] || { echo "$1 is no package of this feed: say here how it is tested" >&2; exit 1; }

folder="$(mktemp -d)"
first='' second=''

finish() {
	[ -z "$first" ] || kill "$first" || :
	[ -z "$second" ] || kill "$second" || :
	wait
	rm -rf "$folder"
}
trap finish EXIT

fail() {
	echo "FAILED: $1" >&2
	cat "$folder"/*.log >&2 || :
	exit 1
}

# $1: which node; the rest: a command of its console
ask() {
	local node="$1"
	shift
	qpq --socket "$folder/$node.sock" "$@"
}

# Tries a command of a node's console until it prints a line with this word in it, for half a minute.
wait_for() {
	local word="$1" tries=30
	shift
	until ask "$@" 2>/dev/null | grep -F -e "$word" >/dev/null; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || fail "no '$word' in the answer to: $*"
		sleep 1
	done
}

for file in /usr/bin/qpq /etc/init.d/qpq; do
	[ -x "$file" ] || fail "$file is not there or cannot be run"
done
[ -n "$(find /etc/config/qpq -perm 600)" ] || fail '/etc/config/qpq can be read by others'
grep '^qpq:' /etc/passwd >/dev/null || fail 'the user qpq was not made'
grep '^qpq:' /etc/group >/dev/null || fail 'the group qpq was not made'

qpq daemon --check --config /etc/config/qpq || fail 'the configuration as shipped is refused'
sed "s/^config .*/&\n\toption listen 'nowhere'/" /etc/config/qpq >"$folder/wrong"
if qpq daemon --check --config "$folder/wrong" 2>"$folder/check.log"; then
	fail 'a wrong address to listen on was accepted'
fi
grep -F listen "$folder/check.log" >/dev/null || fail 'the complaint does not name the option'
if ask first status 2>"$folder/status.log"; then
	fail 'a console without a node said that all is well'
fi

qpq selftest >"$folder/selftest.log" 2>&1 || fail 'the self-test'

start() {
	local node="$1"
	shift
	exec qpq daemon --config /etc/config/qpq --data-dir "$folder/$node" --socket "$folder/$node.sock" \
		--no-mdns --no-beacon --no-group "$@" >"$folder/$node.log" 2>&1
}
start first --listen 127.0.0.1:7000 &
first=$!
start second --listen 127.0.0.1:7001 --peer 127.0.0.1:7000 &
second=$!

wait_for version first --json version
wait_for linked second mesh peers
id="$(ask first --json mesh identity | sed -n 's/.*"user_id": *"\([a-z2-7]*\)".*/\1/p')"
[ -n "$id" ] || fail 'the node has no user'
ask second mesh send "$id" 'one hop' || fail 'the message was not taken'
wait_for 'one hop' first mesh inbox
wait_for delivered second mesh outbox

echo "$1 $2: two nodes exchanged a message"
