# shellcheck shell=dash
# What base-files of OpenWrt 25.12 adds for apk: $pkgname and $root name the package, the lists are in /lib/apk/packages.
# shellcheck disable=SC1090,SC1091,SC2154  # scripts of the router, and what the package's script sets
. "$IPKG_INSTROOT/lib/functions-opkg.sh"

apk_list() {
	cat "$root/lib/apk/packages/$pkgname.$1"
}

add_group_and_user() {
	mkdir -p "$root/usr/lib/opkg/info"
	echo "Require-User: $(apk_list rusers)" >"$root/usr/lib/opkg/info/$pkgname.control"
	opkg_add_group_and_user "$pkgname"
}

default_postinst() {
	local file
	for file in $(apk_list list | grep '^/etc/uci-defaults/'); do
		[ ! -f "$file" ] || { (. "$file") && rm -f "$file"; }
	done
	for file in $(apk_list list | grep '^/etc/init\.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$file" enable
		"$file" start
	done
}

default_prerm() {
	local file
	for file in $(apk_list list | grep '^/etc/init\.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$file" disable
		"$file" stop
	done
}
