# shellcheck shell=dash
# shellcheck disable=SC1090,SC2013  # scripts of a package, and names without spaces
# base-files' functions that a package's scripts call, written for the boot check; $IPKG_INSTROOT as in OpenWrt.

default_prerm() {
	local root="$IPKG_INSTROOT" script
	for script in $(sed -n 's|^/etc/init\.d/||p' "$root/usr/lib/opkg/info/$(pkg_of "$1").list"); do
		[ "$PKG_UPGRADE" = 1 ] || sh "$root/etc/rc.common" "$root/etc/init.d/$script" disable
		[ -n "$root" ] || "$root/etc/init.d/$script" stop
	done
}

default_postinst() {
	local root="$IPKG_INSTROOT" name file
	name="$(pkg_of "$1")"
	add_group_and_user "$name"
	if [ -f "$root/usr/lib/opkg/info/$name.postinst-pkg" ]; then
		(. "$root/usr/lib/opkg/info/$name.postinst-pkg")
	fi
	if [ -z "$root" ]; then
		for file in $(grep '^/etc/uci-defaults/' "/usr/lib/opkg/info/$name.list"); do
			[ ! -f "$file" ] || { (. "$file") && rm -f "$file"; }
		done
		uci commit
		for file in $(grep '^/etc/sysctl\.d/' "/usr/lib/opkg/info/$name.list"); do
			sysctl -q -p "$file" 2>/dev/null
		done
	fi
	for file in $(sed -n 's|^/etc/init\.d/||p' "$root/usr/lib/opkg/info/$name.list"); do
		[ "$PKG_UPGRADE" = 1 ] || sh "$root/etc/rc.common" "$root/etc/init.d/$file" enable
		[ -n "$root" ] || "/etc/init.d/$file" start
	done
}

pkg_of() {
	basename "${1%.*}"
}

# Require-User: users with their groups, ids from 32768 on where none is given.
add_group_and_user() {
	local root="$IPKG_INSTROOT" entry user group id=32768
	for entry in $(sed -n 's/^Require-User: *//p' "$root/usr/lib/opkg/info/$1.control"); do
		user="${entry%%:*}" && user="${user%%=*}"
		group="${entry#*:}" && group="${group%%=*}"
		while grep -q ":x:$id:" "$root/etc/group" "$root/etc/passwd"; do id=$((id + 1)); done
		grep -q "^$group:" "$root/etc/group" || echo "$group:x:$id:" >>"$root/etc/group"
		id="$(sed -n "s/^$group:x:\([0-9]*\):.*/\1/p" "$root/etc/group")"
		grep -q "^$user:" "$root/etc/passwd" ||
			echo "$user:x:$id:$id:$user:/var/run/$user:/bin/false" >>"$root/etc/passwd"
	done
}

# --- UCI, as init scripts read it ---

config_load() {
	CONFIG_PACKAGE="$1"
}

config_get() { # config_get VARIABLE SECTION OPTION [DEFAULT]
	local found
	found="$(uci -q get "$CONFIG_PACKAGE.$2.$3")" || found="$4"
	eval "$1=\$found"
}

config_get_bool() {
	local value
	config_get value "$2" "$3" "$4"
	case "$value" in
	1 | on | true | yes | enabled) value=1 ;;
	0 | off | false | no | disabled) value=0 ;;
	*) value="$4" ;;
	esac
	eval "$1=\$value"
}

config_foreach() { # config_foreach FUNCTION [TYPE]
	local section
	for section in $(uci show "$CONFIG_PACKAGE" |
		sed -n "s/^$CONFIG_PACKAGE\.\([^.=]*\)=${2:-.*}\$/\1/p"); do
		"$1" "$section"
	done
}

config_list_foreach() { # config_list_foreach SECTION OPTION FUNCTION
	local section="$1" option="$2" function="$3" value
	uci facts "$CONFIG_PACKAGE" >"/tmp/list.$$"
	while IFS="$(printf '\t')" read -r _ found name value; do
		[ "$found" != "$section" ] || [ "$name" != "$option" ] || "$function" "$value"
	done <"/tmp/list.$$"
	rm -f "/tmp/list.$$"
}
