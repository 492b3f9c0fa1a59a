#!/bin/sh
# Packs the file system of the test machine: this machine's busybox and libraries, the programs to
# be tested, a kernel's modules and the scripts in guest/. Called by `cargo xtask vm`.
#
#   tests/vm/pack.sh PROGRAMS TESTS KERNEL OUT
#
# PROGRAMS is the folder with swarmd, swarmd-shim and swarmctl, TESTS the test program of the engine,
# KERNEL an unpacked kernel package, OUT the folder that gets `initramfs` and `vmlinuz`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 4 ] || { echo "usage: pack.sh PROGRAMS TESTS KERNEL OUT" >&2; exit 2; }
programs=$(cd "$1" && pwd)
tests=$(realpath "$2")
kernel=$(realpath "$3")
mkdir -p "$4"
out=$(realpath "$4")
. "$here/../../deploy/demo/archive.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
machine=$work/machine
mkdir -p "$machine"
cd "$machine"
mkdir -p bin dev etc lib/modules proc root run sbin sys tmp usr/bin usr/local/bin usr/sbin \
    var/lib vm

busybox=$(find_busybox "$work")
cp "$busybox" bin/busybox
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "bin/$applet"
done
# Where the kernel looks for it when it misses a module.
ln -s ../bin/busybox sbin/modprobe

# A program without its symbols, and the libraries it is linked to.
add_program() {
    strip -o "$2" "$1"
    ldd "$1" | grep -oE '/[^ ]+' | while read -r library; do
        [ -e ".$library" ] && continue
        mkdir -p ".${library%/*}"
        cp -L "$library" ".$library"
    done
}
for name in swarmd swarmd-shim swarmctl; do
    add_program "$programs/$name" "usr/local/bin/$name"
done
add_program "$tests" vm/engine-tests
# The test program knows the shim by the path it was built at.
mkdir -p "./$programs"
ln -s /usr/local/bin/swarmd-shim "./$programs/swarmd-shim"

release=$(ls "$kernel/lib/modules")
modules=lib/modules/$release
mkdir -p "$modules"
for part in net lib crypto arch fs/overlayfs drivers/net; do
    source=$kernel/$modules/kernel/$part
    [ -d "$source" ] || continue
    mkdir -p "$modules/kernel/${part%/*}"
    cp -r "$source" "$modules/kernel/$part"
done
# Hardware that the machine does not have.
rm -rf "$modules"/kernel/drivers/net/ethernet "$modules"/kernel/drivers/net/wireless
find "$modules" -name '*.ko.xz' -exec xz -d {} +
for list in modules.builtin modules.order; do
    cp "$kernel/$modules/$list" "$modules/" 2>/dev/null || :
done
"$busybox" depmod -b "$machine" "$release"

printf 'root:x:0:0::/root:/bin/sh\n' >etc/passwd
printf 'root:x:0:\n' >etc/group
printf '127.0.0.1\tlocalhost\n' >etc/hosts
: >etc/resolv.conf
cp "$here"/guest/* vm/
mv vm/init init
chmod 0755 init
sh "$here/../../deploy/demo/busybox.sh" vm/busybox.tar

find . | LC_ALL=C sort >"$work/list"
"$busybox" cpio -o -H newc <"$work/list" >"$work/archive"
gzip -1 <"$work/archive" >"$out/initramfs.partial"
mv "$out/initramfs.partial" "$out/initramfs"
cp "$kernel/boot/vmlinuz-$release" "$out/vmlinuz"
