#!/bin/sh
# Makes the image busybox:latest from Debian's busybox-static, as a docker archive.
#
#   deploy/demo/busybox.sh OUT.tar
#
# The same busybox binary always gives the same bytes, and so the same digest on every node.
# Tests, benchmarks and examples use this image; nothing is downloaded when busybox-static is
# installed already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/archive.sh"

[ $# -eq 1 ] || { echo "usage: busybox.sh OUT.tar" >&2; exit 2; }
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

busybox=$(find_busybox "$work") || exit 1
root=$work/root
mkdir -p "$root/bin" "$root/sbin" "$root/usr/bin" "$root/usr/sbin" "$root/etc" "$root/proc" \
    "$root/sys" "$root/dev" "$root/tmp" "$root/root" "$root/var/run" "$root/home"
chmod 1777 "$root/tmp"
chmod 0700 "$root/root"
install -m 0755 "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
base_etc "$root"
docker_archive "$root" "$out" busybox:latest '{
  "Cmd": ["sh"],
  "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
}'
