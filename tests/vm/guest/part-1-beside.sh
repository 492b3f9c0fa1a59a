# The daemon as a service of systemd: its own group is one thing, the containers' groups beside it
# another.

unit=system.slice/swarmd.service
mkdir -p "$GROUPS/$unit"
daemon "$unit"
check "the daemon starts" within 60 test -S /run/swarmd/swarmd.sock
check "a cluster is made" make_cluster
check "an image is loaded" swarmctl image load -i /vm/busybox.tar

swarmctl service create --detach --name web --limit-memory 64M --limit-cpu 0.5 --limit-pids 50 \
    --health-cmd 'cat /proc/self/cgroup >/tmp/health' --health-interval 1s \
    busybox sh -c 'cat /proc/self/cgroup; cat /sys/fs/cgroup/memory.max
        echo max >/sys/fs/cgroup/memory.max || echo kept
        mkdir /sys/fs/cgroup/more || echo no more
        ls /sys/fs/cgroup/system.slice || echo no host
        mknod /dev/messages c 1 11 && { head -c 1 /dev/messages || echo no device; }
        mknod /dev/nought c 1 5 && head -c 4321 /dev/nought | wc -c
        echo end; trap "exit 0" TERM; while :; do sleep 1; done' >/dev/null
check "a service runs" within 90 running web
container=$(find $GROUPS/swarmd -mindepth 1 -maxdepth 1 -type d)
pid=$(head -n 1 "$container/cgroup.procs")

for folder in $GROUPS $GROUPS/swarmd; do
    for controller in cpu cpuset io memory pids; do
        check "$controller is handed on by $folder" has $controller \
            "$(cat $folder/cgroup.subtree_control)"
    done
done
check "memory.max" file_is 67108864 "$container/memory.max"
check "memory.swap.max" file_is 67108864 "$container/memory.swap.max"
check "cpu.max" file_is "50000 100000" "$container/cpu.max"
check "pids.max" file_is 50 "$container/pids.max"
check "the daemon stays where it was started" is "$unit" "$(group_of $swarmd)"
check "the service says everything" within 20 says web end
log=$(swarmctl service logs --raw web 2>&1 || swarmctl service logs web 2>&1)
check "a container is the root of what it sees" has "0::/
" "$log
"
check "a container sees its limit" has 67108864 "$log"
check "a container cannot lift its limit" has kept "$log"
check "a container cannot make groups" has "no more" "$log"
check "a container does not see the host's groups" has "no host" "$log"
check "a container cannot use the host's devices" has "no device" "$log"
check "a container can use harmless devices" has 4321 "$log"
check "a health check runs" within 30 test -s "/proc/$pid/root/tmp/health"
check "a health check is in the container's group" file_is 0::/ "/proc/$pid/root/tmp/health"

swarmctl service create --detach --name hog --limit-memory 16M --restart-condition none \
    busybox sh -c 'x=$(yes | head -c 64000000); echo survived' >/dev/null
hog_failed() { has Failed "$(swarmctl service ps --no-trunc hog)"; }
check "too much memory ends a task" within 60 hog_failed
check "the reason is in service ps" has "out of memory" "$(swarmctl service ps --no-trunc hog)"

swarmctl service create --detach --name forks --limit-pids 5 --restart-condition none \
    busybox sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo end' >/dev/null
check "too many processes are refused" within 60 says forks "fork"

# A container with the right to mount can make groups of its own below its own.
# Its own then hands on controllers, and takes no process any more.
swarmctl service create --detach --name nest --cap-add SYS_ADMIN \
    --health-cmd 'touch /tmp/health' --health-interval 1s \
    busybox sh -c 'mkdir /g && mount -t cgroup2 g /g && mkdir -p /g/a/b /g/first &&
        echo 1 >/g/first/cgroup.procs &&
        until echo +pids >/g/cgroup.subtree_control; do sleep 0.1; done &&
        { sleep 1000 & echo $! >/g/a/b/cgroup.procs; } && echo nested
        while :; do sleep 1; done' >/dev/null
check "a container makes groups below its own" within 60 says nest nested
check "they are below its own" has /a/b "$(find $GROUPS/swarmd -type d)"
nest=$(cat $GROUPS/swarmd/*/first/cgroup.procs | head -n 1)
rm -f "/proc/$nest/root/tmp/health"
check "a health check still gets into it" within 30 test -e "/proc/$nest/root/tmp/health"
swarmctl service rm nest hog forks >/dev/null
only_web() {
    is "$container" "$(find $GROUPS/swarmd -mindepth 1 -type d)" ||
        { swarmctl service ps --no-trunc web; return 1; }
}
check "removal leaves no group" within 60 only_web

task=$(swarmctl service ps -q web)
kill -9 $swarmd
wait $swarmd 2>/dev/null
check "containers go on without the daemon" test -d "/proc/$pid"
daemon "$unit"
check "the daemon starts again" within 60 swarmctl service ls
check "the container is the same" within 60 running web
check "the task is the same" is "$task" "$(swarmctl service ps -q web)"
check "its first process is the same" is "$pid" "$(head -n 1 "$container/cgroup.procs")"
rm -f "/proc/$pid/root/tmp/health"
check "health checks go on" within 30 test -s "/proc/$pid/root/tmp/health"
swarmctl service rm web >/dev/null
check "nothing is left after the last removal" within 60 empty_group $GROUPS/swarmd
check "the cluster is left" swarmctl leave --force
kill $swarmd
wait $swarmd
