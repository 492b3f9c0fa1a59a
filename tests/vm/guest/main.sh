# Second stage of the test machine: what systemd would have prepared, then every check, then off.
# Each line that begins with PASS or FAIL is one check; DONE is the last word.
export PATH=/usr/local/bin:/bin:/sbin HOME=/root
trap 'echo "DONE"; poweroff -f' EXIT

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
hostname machine
for module in dummy overlay veth bridge br_netfilter vxlan nf_tables; do
    modprobe "$module" || echo "no module $module"
done
ip link set lo up
ip link add uplink type dummy
ip address add 198.18.0.1/24 dev uplink
ip link set uplink up

. /vm/checks.sh
for part in /vm/part-*.sh; do
    . "$part"
done
