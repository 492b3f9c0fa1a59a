#!/bin/sh
# Installs the built programs and the systemd unit on this host. Needs no network and starts nothing.
#
#   deploy/install.sh [FOLDER]
#
# takes swarmd, swarmd-shim and swarmctl from FOLDER, by default target/release. DESTDIR puts it all
# beneath another root. Run again, it replaces the programs; a running daemon goes on with the old
# one until it is restarted, and containers go on through that.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
from=${1:-$here/../target/release}
root=${DESTDIR:-}
programs="swarmd swarmd-shim swarmctl"

for program in $programs; do
    [ -x "$from/$program" ] || {
        echo "install.sh: there is no $from/$program: build it with  cargo build --release" >&2
        exit 1
    }
done

mkdir -p "$root/usr/local/bin" "$root/etc/systemd/system"
for program in $programs; do
    # In one step, so that no half program is ever there and a running one is not written to.
    install -m 0755 "$from/$program" "$root/usr/local/bin/.$program.new"
    mv -f "$root/usr/local/bin/.$program.new" "$root/usr/local/bin/$program"
done
install -m 0644 "$here/systemd/swarmd.service" "$root/etc/systemd/system/swarmd.service"

echo "installed in $root/usr/local/bin: $programs"
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    echo "start it with:  systemctl enable --now swarmd"
else
    echo "start it with:  /usr/local/bin/swarmd"
fi
