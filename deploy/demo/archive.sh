# shellcheck shell=sh
# Shell functions that put root filesystems into docker archives. Sourced by the scripts beside it;
# needs only sh, GNU tar, coreutils and dpkg. Everything is written sorted, owned by root and with
# fixed times, so that the same content always gives the same digest.

# File modes must not depend on who runs this.
umask 022

# A fixed moment for every file and image: reproducibility, not history.
epoch=2020-01-01T00:00:00Z

# The machine's architecture in the words of image platforms.
image_arch() {
    case $(uname -m) in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        armv7l) echo arm ;;
        *) uname -m ;;
    esac
}

# find_busybox WORK: the path of a static busybox, taken from the installed package or else from
# Debian's archive.
find_busybox() {
    for candidate in /bin/busybox /usr/bin/busybox; do
        if [ -x "$candidate" ] && ! ldd "$candidate" >/dev/null 2>&1; then
            echo "$candidate"
            return 0
        fi
    done
    fetch_packages "$1/debs" busybox-static || return 1
    mkdir -p "$1/busybox"
    dpkg-deb -x "$1"/debs/busybox-static_*.deb "$1/busybox" || return 1
    for candidate in "$1/busybox/bin/busybox" "$1/busybox/usr/bin/busybox"; do
        [ -x "$candidate" ] && echo "$candidate" && return 0
    done
    echo "busybox-static holds no bin/busybox" >&2
    return 1
}

# fetch_packages DIR NAME…: downloads Debian packages into DIR, unless they are there already.
fetch_packages() {
    fetch_into=$1
    shift
    mkdir -p "$fetch_into"
    missing=
    for package in "$@"; do
        ls "$fetch_into/${package}"_*.deb >/dev/null 2>&1 || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    # shellcheck disable=SC2086
    download_into "$fetch_into" $missing && return 0
    apt-get -q -q update >&2 || true
    # shellcheck disable=SC2086
    download_into "$fetch_into" $missing && return 0
    echo "cannot download these packages:$missing; is Debian's archive reachable?" >&2
    return 1
}

# download_into DIR NAME…: only whole packages get into DIR.
download_into() {
    download_dir=$1
    shift
    rm -rf "$download_dir/partial"
    mkdir -p "$download_dir/partial"
    # apt would drop to an unprivileged user that cannot write here; it checks what it downloads.
    (cd "$download_dir/partial" && apt-get -q -q -o APT::Sandbox::User=root download "$@" >&2) ||
        return 1
    mv "$download_dir"/partial/*.deb "$download_dir/"
    rmdir "$download_dir/partial"
}

# libraries_of DIR: the library packages that the packages in DIR depend on, one per line.
libraries_of() {
    for deb in "$1"/*.deb; do
        dpkg-deb -f "$deb" Pre-Depends Depends
    done | sed 's/^[A-Za-z-]*: //' | tr ',' '\n' | sed 's/|.*//; s/(.*//; s/:any//; s/ //g' |
        grep -E '^(lib|zlib|lua)' | sort -u
}

# fetch_with_libraries DIR NAME…: the packages and, in turn, all libraries they need.
fetch_with_libraries() {
    libraries_dir=$1
    fetch_packages "$@" || return 1
    before=
    wanted=$(libraries_of "$libraries_dir")
    while [ "$wanted" != "$before" ]; do
        # shellcheck disable=SC2086
        fetch_packages "$libraries_dir" $wanted || return 1
        before=$wanted
        wanted=$(libraries_of "$libraries_dir")
    done
}

# extract_packages DIR INTO NAME…: unpacks packages and every library that was fetched with them.
extract_packages() {
    extract_from=$1
    extract_into=$2
    shift 2
    mkdir -p "$extract_into"
    for package in "$@" $(libraries_of "$extract_from"); do
        dpkg-deb -x "$extract_from/${package}"_*.deb "$extract_into" || return 1
    done
}

# copy_program FROM PROGRAM ROOT [AS]: copies a program and its shared libraries. FROM is where its
# packages lie; PROGRAM and AS are relative.
copy_program() {
    install -D -m 0755 "$1/$2" "$3/${4:-$2}"
    copy_libraries "$1" "$1/$2" "$3"
}

# copy_libraries FROM BINARY ROOT: copies the dynamic loader and all libraries of BINARY, found
# beneath FROM by the loader itself, to where the loader looks first.
copy_libraries() {
    from=$(cd "$1" && pwd)
    from=${from%/}
    loader=$(program_loader "$2") || return 1
    [ -n "$loader" ] || return 0
    found=$(find "$from/lib" "$from/usr/lib" -maxdepth 2 -name 'lib*.so.*' -printf '%h\n' | sort -u |
        tr '\n' ':')
    "$from$loader" --library-path "$found" --list "$2" >"$3/.libraries" || return 1
    awk '$2 == "=>" { print $3 }' "$3/.libraries" | while read -r library; do
        case $library in
            "$from"/*) install -D -m 0644 "$library" "$3/lib/${library##*/}" ;;
            *) echo "$2 needs $library, which is not in $1" >&2; exit 1 ;;
        esac
    done || return 1
    rm "$3/.libraries"
    install -D -m 0755 "$from$loader" "$3$loader"
}

# program_loader BINARY: the path of the dynamic loader it names; nothing for a static one.
program_loader() {
    LC_ALL=C grep -a -o -E '/lib(64|32)?/ld-[A-Za-z0-9_.-]+\.so\.[0-9]+' "$1" | head -n 1
}

# base_etc ROOT: the few files under /etc that programs look for.
base_etc() {
    mkdir -p "$1/etc"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' \
        >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
    printf 'hosts: files dns\n' >"$1/etc/nsswitch.conf"
}

# digest_of FILE
digest_of() {
    sha256sum "$1" | cut -d' ' -f1
}

# sorted_tar DIR OUT [TAR OPTION…]
sorted_tar() {
    tar_dir=$1
    tar_out=$2
    shift 2
    LC_ALL=C tar -C "$tar_dir" -cf "$tar_out" --sort=name --format=posix \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
        --mtime="$epoch" --numeric-owner "$@" .
}

# docker_archive ROOT OUT NAME CONFIG_JSON [TAR OPTION…]: one image of one layer. Its owner is root
# unless the options say otherwise. OUT appears whole or not at all.
docker_archive() {
    archive_root=$1
    archive_out=$2
    archive_name=$3
    archive_config=$4
    shift 4
    [ $# -gt 0 ] || set -- --owner=0 --group=0
    archive_work=$(mktemp -d)
    sorted_tar "$archive_root" "$archive_work/layer.tar" "$@"
    layer=$(digest_of "$archive_work/layer.tar")
    mv "$archive_work/layer.tar" "$archive_work/$layer.tar"
    printf '{"architecture":"%s","os":"linux","created":"%s","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"%s","created_by":"made from Debian packages"}]}' \
        "$(image_arch)" "$epoch" "$archive_config" "$layer" "$epoch" >"$archive_work/config.json"
    config=$(digest_of "$archive_work/config.json")
    mv "$archive_work/config.json" "$archive_work/$config.json"
    printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]\n' \
        "$config" "$archive_name" "$layer" >"$archive_work/manifest.json"
    mkdir -p "$(dirname "$archive_out")"
    sorted_tar "$archive_work" "$archive_out.part" --owner=0 --group=0
    mv "$archive_out.part" "$archive_out"
    rm -rf "$archive_work"
}
