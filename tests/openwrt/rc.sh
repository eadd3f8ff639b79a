# shellcheck shell=dash
# A stand-in for rc.common with procd's and uci's shell functions: notes every call, in order, with its arguments.
# Usage: ash rc.sh INIT ACTION, with QPQ_TEST_ROOT (where the init script's files are), QPQ_TEST_CALLS (the notes),
# QPQ_TEST_UBOX and QPQ_TEST_UCI (the commands that stand for validate_data and uci).
# shellcheck disable=SC2034  # what the init script reads

note() {
	printf '%s' "$1"
	shift
	[ "$#" -eq 0 ] || printf '\t%s' "$@"
	printf '\n'
} >>"$QPQ_TEST_CALLS"

for name in procd_open_instance procd_close_instance procd_set_param procd_append_param procd_add_jail \
	procd_add_jail_mount procd_add_jail_mount_rw procd_open_data procd_close_data procd_add_mdns_service \
	procd_add_reload_trigger procd_add_raw_trigger procd_add_restart_mount_trigger procd_set_config_changed \
	json_add_object json_close_object json_add_array json_close_array json_add_string json_add_int \
	logger chown chgrp extra_command; do
	eval "$name() { note $name \"\$@\"; }"
done

id() {
	[ -z "$QPQ_TEST_NO_USER" ] && echo "$QPQ_TEST_UID"
}

uci_load_validate() {
	local _type="$2" _name="$3" _function="$4" _option _status
	shift 4
	for _option in "$@"; do
		eval "local ${_option%%:*}"
	done
	eval "$($QPQ_TEST_UBOX validate "$CONFIG" "$_type" "$_name" "$@" 2>/dev/null)"
	$QPQ_TEST_UBOX validate "$CONFIG" "$_type" "$_name" "$@" >/dev/null
	_status=$?
	[ -n "$_function" ] || return "$_status"
	eval "$_function \"\$_name\" \"\$_status\""
}

config_load() {
	note config_load "$1"
}

config_get() {
	eval "$1=\"\$($QPQ_TEST_UBOX get \"$CONFIG\" \"$2\" \"$3\")\""
}

uci() {
	$QPQ_TEST_UCI "$@"
}

initscript="$1"
action="$2"
# shellcheck source=/dev/null
. "$initscript"
for name in CONFIG DATA_DIR RUN_DIR STORE_DIR METRICS_DIR COPY CHECKED SUMS UMDNS; do
	eval "$name=\"\$QPQ_TEST_ROOT\$$name\""
done
PROG="$QPQ_TEST_PROG"

start() {
	local status
	note procd_open_service qpq
	start_service
	status=$?
	note procd_open_trigger
	service_triggers
	note procd_close_service
	service_started
	return "$status"
}

case "$action" in
start) start ;;
reload) reload_service ;;
stop)
	note procd_kill qpq
	service_stopped
	;;
status) status_service ;;
*) "$action" ;;
esac
