# shellcheck shell=dash
# procd's shell functions, written for the boot check: what an init script says of its instances is written down in
# /var/run/procd/<service>/, and /sbin/procd-instance runs one as procd does. An unchanged instance is left alone.

PROCD_DIR=/var/run/procd

# $1: the service, $2: its script
procd_open_service() {
	_service="$1"
	_script="$2"
	_instances=0
	_in_data=
	mkdir -p "$PROCD_DIR/$_service"
	: >"$PROCD_DIR/$_service/triggers"
	rm -rf "$PROCD_DIR/$_service/next"
	mkdir "$PROCD_DIR/$_service/next"
}

procd_open_instance() {
	_instances=$((_instances + 1))
	_instance="${1:-instance$_instances}"
	: >"$PROCD_DIR/$_service/next/$_instance"
}

# One line a word: "NAME VALUE"; the hash of a file and the index of a device are part of what an instance is.
procd_set_param() {
	local name="$1" word
	shift
	for word in "$@"; do
		printf '%s %s\n' "$name" "$word"
		case "$name" in
		file) printf 'hash %s\n' "$(md5sum "$word" 2>/dev/null)" ;;
		netdev) printf 'index %s\n' "$(cat "/sys/class/net/$word/ifindex" 2>/dev/null)" ;;
		esac
	done >>"$PROCD_DIR/$_service/next/$_instance"
}

procd_append_param() {
	procd_set_param "$@"
}

procd_close_instance() {
	_instance=
}

procd_close_service() {
	local dir="$PROCD_DIR/$_service" file name
	for file in "$dir"/*.pid; do
		name="${file##*/}" && name="${name%.pid}"
		[ ! -e "$file" ] || [ -e "$dir/next/$name" ] || _procd_stop "$name"
	done
	for file in "$dir"/next/*; do
		[ -e "$file" ] || continue
		name="${file##*/}"
		if [ -e "$dir/$name.pid" ] && kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null && cmp -s "$file" "$dir/$name"; then
			continue
		fi
		_procd_stop "$name"
		mv "$file" "$dir/$name"
		# procd itself ignores no signal, as rc.common's restart has its shell do.
		(trap - TERM && exec setsid /sbin/procd-instance "$_service" "$name") </dev/null >/dev/null 2>&1 &
		echo $! >"$dir/$name.pid"
	done
	rm -rf "$dir/next"
}

procd_kill() {
	local file name
	_service="$1"
	for file in "$PROCD_DIR/$1"/*.pid; do
		name="${file##*/}"
		[ ! -e "$file" ] || _procd_stop "${name%.pid}"
	done
}

procd_running() {
	local file
	for file in "$PROCD_DIR/$1"/*.pid; do
		[ ! -e "$file" ] || ! kill -0 "$(cat "$file")" 2>/dev/null || return 0
	done
	return 1
}

# Ends an instance and its keeper, and returns when both are gone.
_procd_stop() {
	local file="$PROCD_DIR/$_service/$1.pid" keeper
	[ -e "$file" ] || return 0
	keeper="$(cat "$file")"
	kill -TERM "$keeper" 2>/dev/null
	while kill -0 "$keeper" 2>/dev/null; do sleep 0.1; done
	rm -f "$file"
}

# --- triggers: "EVENT COMMAND...", read by /sbin/event ---

procd_add_raw_trigger() { # procd_add_raw_trigger EVENT DELAY COMMAND...
	local event="$1"
	shift 2
	echo "$event $*" >>"$PROCD_DIR/$_service/triggers"
}

procd_add_reload_trigger() {
	local package
	for package in "$@"; do
		procd_add_raw_trigger "config.change:$package" 1000 "$_script" reload
	done
}

procd_add_config_trigger() { # procd_add_config_trigger EVENT PACKAGE COMMAND...
	local event="$1:$2"
	shift 2
	procd_add_raw_trigger "$event" 1000 "$@"
}

procd_add_interface_trigger() { # procd_add_interface_trigger EVENT INTERFACE COMMAND...
	local event="$1:$2"
	shift 2
	procd_add_raw_trigger "$event" 1000 "$@"
}

procd_add_reload_interface_trigger() {
	procd_add_interface_trigger "interface.*" "$1" "$_script" reload
}

procd_add_restart_mount_trigger() { return 0; }
procd_add_reload_mount_trigger() { return 0; }
procd_open_trigger() { return 0; }
procd_close_trigger() { return 0; }
procd_add_validation() { return 0; }
procd_set_config_changed() { return 0; }

# --- the jail: without /sbin/ujail procd starts the instance without one ---

procd_add_jail() { procd_set_param jail "$@"; }
procd_add_jail_mount() { procd_set_param mount "$@"; }
procd_add_jail_mount_rw() { procd_set_param mount_rw "$@"; }

# --- data of an instance, for umdns and the firewall, which are not here ---

procd_open_data() { return 0; }
procd_close_data() { return 0; }
procd_add_mdns() { return 0; }
procd_add_mdns_service() { return 0; }
json_add_object() { return 0; }
json_add_array() { return 0; }
json_add_string() { return 0; }
json_add_int() { return 0; }
json_add_boolean() { return 0; }
json_close_object() { return 0; }
json_close_array() { return 0; }

# uci_load_validate PACKAGE TYPE SECTION FUNCTION NAME:TYPE[:DEFAULT]...: /sbin/validate_data's stand-in sets variables.
uci_load_validate() {
	local package="$1" section="$3" function="$4" rule result
	shift 4
	for rule in "$@"; do
		# shellcheck disable=SC2163  # the name is in the variable
		local "${rule%%:*}"
	done
	eval "$(validate_data "$package" "$section" "$@" && echo result=0 || echo result=1)"
	"$function" "$section" "$result"
}
