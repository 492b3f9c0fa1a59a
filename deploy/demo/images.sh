#!/bin/sh
# Makes the images of the demo stack as docker archives, from Debian's packages and the web program.
#
#   deploy/demo/images.sh OUT_DIR WEB_BINARY
#
# writes OUT_DIR/nginx.tar (demo/nginx:1), redis.tar (demo/redis:1) and web.tar (demo/web:1), to be
# loaded with `swarmctl image load -i FILE`. Packages are downloaded once, into OUT_DIR/debs, and an
# image is made again only when what it is made of has changed. The same packages and the same
# program always give the same digests.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/archive.sh"

[ $# -eq 2 ] || { echo "usage: images.sh OUT_DIR WEB_BINARY" >&2; exit 2; }
out=$1
web=$2
[ -x "$web" ] || { echo "$web is not a program; build it with: cargo build -p demo-web" >&2; exit 1; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
debs=$out/debs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
path_env='"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"'

# A small shell and wget, for health checks and for looking around.
add_busybox() {
    mkdir -p "$1/bin"
    install -m 0755 "$busybox" "$1/bin/busybox"
    for applet in sh wget ls cat ps env id nc nslookup ping ip sleep; do
        ln -sf busybox "$1/bin/$applet"
    done
}

make_nginx() {
    packages=$work/nginx
    extract_packages "$debs" "$packages" nginx nginx-common
    mkdir -p "$root/var/lib/nginx" "$root/var/log/nginx" "$root/run" "$root/etc/nginx"
    add_busybox "$root"
    copy_program "$packages" usr/sbin/nginx "$root"
    cp "$packages/etc/nginx/mime.types" "$root/etc/nginx/mime.types"
    cp "$here/nginx.conf" "$root/etc/nginx/nginx.conf"
    printf 'www-data:x:33:33:www-data:/var/www:/bin/false\n' >>"$root/etc/passwd"
    printf 'www-data:x:33:\n' >>"$root/etc/group"
    docker_archive "$root" "$1" demo/nginx:1 "{
      \"Cmd\": [\"nginx\"], \"Env\": [$path_env], \"ExposedPorts\": {\"80/tcp\": {}},
      \"StopSignal\": \"SIGQUIT\"
    }"
}

make_redis() {
    packages=$work/redis
    extract_packages "$debs" "$packages" redis-server redis-tools
    mkdir -p "$root/data" "$root/run" "$root/etc/redis"
    add_busybox "$root"
    # In Debian, the server and the check tools are one binary under several names.
    server=$(readlink -f "$packages/usr/bin/redis-server")
    copy_program "$packages" "${server#"$(readlink -f "$packages")"/}" "$root" usr/bin/redis-server
    copy_program "$packages" usr/bin/redis-cli "$root"
    cat >"$root/etc/redis/redis.conf" <<'CONF'
# Reached through the stack's own network only.
bind 0.0.0.0
protected-mode no
dir /data
appendonly yes
CONF
    docker_archive "$root" "$1" demo/redis:1 "{
      \"Cmd\": [\"redis-server\", \"/etc/redis/redis.conf\"], \"Env\": [$path_env],
      \"ExposedPorts\": {\"6379/tcp\": {}}, \"Volumes\": {\"/data\": {}}, \"WorkingDir\": \"/data\"
    }"
}

make_web() {
    install -D -m 0755 "$web" "$root/usr/bin/demo-web"
    copy_libraries / "$web" "$root"
    docker_archive "$root" "$1" demo/web:1 "{
      \"Cmd\": [\"/usr/bin/demo-web\"], \"Env\": [$path_env], \"ExposedPorts\": {\"8000/tcp\": {}}
    }"
}

# make NAME INPUT…: runs make_NAME unless the image is there and was made of the same inputs.
make() {
    name=$1
    shift
    stamp=$(cat "$here/images.sh" "$here/archive.sh" "$here/nginx.conf" "$@" | sha256sum)
    if [ -f "$out/$name.tar" ] && [ "$(cat "$out/$name.stamp" 2>/dev/null)" = "$stamp" ]; then
        echo "$out/$name.tar is up to date"
        return 0
    fi
    root=$work/$name.root
    mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/root"
    chmod 1777 "$root/tmp"
    chmod 0700 "$root/root"
    base_etc "$root"
    "make_$name" "$out/$name.tar"
    echo "$stamp" >"$out/$name.stamp"
    echo "$out/$name.tar is made"
}

busybox=$(find_busybox "$work")
fetch_with_libraries "$debs" nginx nginx-common redis-server redis-tools
make nginx "$debs"/*.deb "$busybox"
make redis "$debs"/*.deb "$busybox"
make web "$web"
