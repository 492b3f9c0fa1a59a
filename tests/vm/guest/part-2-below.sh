# The daemon in a group that the containers' groups are below of, as in a container of its own: it
# must leave that group, which could hand on no controller otherwise.

own=delegated
mkdir -p "$GROUPS/$own"
sleep 10000 &
bystander=$!
echo $bystander >"$GROUPS/$own/cgroup.procs"
daemon $own --cgroup-parent $own/containers
check "below: the daemon starts" within 60 test -S /run/swarmd/swarmd.sock
check "below: it moved into a leaf" is "$own/daemon" "$(group_of $swarmd)"
check "below: with everything that was there" is "$own/daemon" "$(group_of $bystander)"
check "below: a cluster is made" make_cluster
check "below: an image is loaded" swarmctl image load -i /vm/busybox.tar
swarmctl service create --detach --name web --limit-memory 64M busybox sleep 1000 >/dev/null
check "below: a service runs" within 90 running web
container=$(find $GROUPS/$own/containers -mindepth 1 -maxdepth 1 -type d)
check "below: memory.max" file_is 67108864 "$container/memory.max"
pid=$(head -n 1 "$container/cgroup.procs")
kill -9 $swarmd
wait $swarmd 2>/dev/null
daemon $own/daemon --cgroup-parent $own/containers
check "below: the daemon starts again" within 60 swarmctl service ls
check "below: the container is the same" is "$pid" "$(head -n 1 "$container/cgroup.procs")"
swarmctl service rm web >/dev/null
check "below: removal leaves no group" within 60 empty_group $GROUPS/$own/containers
check "below: the cluster is left" swarmctl leave --force
kill $swarmd
wait $swarmd

mkdir -p "$GROUPS/taken" "$GROUPS/apart"
echo $bystander >"$GROUPS/taken/cgroup.procs"
daemon apart --cgroup-parent taken/containers
check "taken: the daemon starts" within 60 test -S /run/swarmd/swarmd.sock
check "taken: a cluster is made" make_cluster
swarmctl service create --detach --name web busybox sleep 1000 >/dev/null
refused() { has "has processes of its own" "$(swarmctl service ps --no-trunc web)"; }
check "a parent with processes of others is refused" within 60 refused
check "they stay where they were" is taken "$(group_of $bystander)"
kill $swarmd $bystander
wait $swarmd
