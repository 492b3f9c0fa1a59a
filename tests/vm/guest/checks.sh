# Functions that the parts share. Sourced by main.sh.

GROUPS=/sys/fs/cgroup

# check NAME COMMAND…: passes if the command does; else what it said is shown.
check() {
    name=$1
    shift
    if said=$("$@" 2>&1); then
        echo "PASS $name"
    else
        echo "FAIL $name: $(echo "$said" | tail -n 12 | tr '\n' '|')"
    fi
}

# is WANTED TEXT: both are the same.
is() {
    [ "$1" = "$2" ] || { echo "want '$1', got '$2'"; return 1; }
}

# file_is WANTED FILE
file_is() {
    is "$1" "$(cat "$2")"
}

# has WORD TEXT: the text contains the word.
has() {
    case $2 in *"$1"*) ;; *) echo "no '$1' in '$2'"; return 1 ;; esac
}

# within SECONDS COMMAND…: the command succeeds before the time is over.
within() {
    patience=$1
    shift
    end=$(($(cut -d. -f1 /proc/uptime) + patience))
    until said_last=$("$@" 2>&1); do
        if [ "$(cut -d. -f1 /proc/uptime)" -ge $end ]; then
            echo "not within $patience s: $said_last"
            return 1
        fi
        sleep 0.3
    done
}

# daemon GROUP OPTION…: starts swarmd in this group, as a service manager does; its pid in $swarmd.
daemon() {
    group=$GROUPS/$1
    shift
    sh -c 'echo 0 >"$0/cgroup.procs" && exec swarmd "$@"' "$group" "$@" >>/tmp/swarmd.log 2>&1 &
    swarmd=$!
}

# A slow machine under emulation must not take its own silence for its death.
make_cluster() {
    swarmctl init --advertise-addr 198.18.0.1 --dispatcher-heartbeat 60s
}

# group_of PID: its path, without a leading slash.
group_of() {
    sed -n 's,^0::/,,p' "/proc/$1/cgroup"
}

# running SERVICE: it has a running task.
running() {
    has Running "$(swarmctl service ps --format '{{.CurrentState}}' "$1")"
}

# says SERVICE TEXT: the text is in its log.
says() {
    has "$2" "$(swarmctl service logs "$1" 2>&1)"
}

# empty_group FOLDER: there is no group below this one.
empty_group() {
    is "" "$(find "$1" -mindepth 1 -type d)"
}
