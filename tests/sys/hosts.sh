# hosts.sh -- several hosts of a test's own making (tests/sys/hosts.c); read with `.` after lib.sh.
#
#     hosts 2 1e9 0.005       two hosts, 1 Gbit/s, 5 ms one way; or the test is skipped
#     on h2 CMD...            runs it there, as ssh would
#     job WORD...             the program in one rank a host, started from a front end as on a
#                             cluster: with a hostfile, and an agent that stands for ssh
#     sent h1                 bytes that have left h1 since it exists
#     end_hosts               takes them away; otherwise the end of the test does, whatever it is
#
# $ranks_each: ranks a host. $host_cores, set before `hosts`: cores of h1, h2, ... as taskset
# takes them ("0 1", "0,1 2,3"); empty: all cores for each.

ranks_each=1 host_cores=

hosts() {
    hosts_at=$TMPDIR/hosts
    rm -rf "$hosts_at"
    mkdir -p "$hosts_at"
    command -v nsenter >/dev/null || { echo "SKIP hosts: nsenter is missing"; exit 77; }
    "$top_builddir/tests/sys/hosts" "$1" "$2" "$3" "$hosts_at" 2>"$hosts_at/error" &
    hosts_pid=$!
    trap end_hosts EXIT
    trap 'exit 99' INT TERM HUP
    while [ ! -e "$hosts_at/ready" ]; do
        if ! kill -0 $hosts_pid 2>/dev/null; then
            wait $hosts_pid
            code=$?
            echo "SKIP hosts: $(cat "$hosts_at/error") (needs root, namespaces and /dev/net/tun)"
            exit $code
        fi
        sleep 0.05
    done
    hosts_names=
    for i in $(seq "$1"); do
        hosts_names="$hosts_names h$i"
    done
    # shellcheck disable=SC2086
    set -- $host_cores
    for host in $hosts_names; do
        [ $# = 0 ] || { echo "$1" >"$hosts_at/$host.cores"; shift; }
    done
    # HOST COMMAND on `front`, as ssh would be called; MPICH's launcher may put options in front.
    cat >"$hosts_at/agent" <<'END'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
at=$(dirname "$0") host=$1
shift
cores=$(cat "$at/$host.cores" 2>/dev/null)
exec nsenter -t "$(cat "$at/$host")" -a --wd="$PWD" ${cores:+taskset -c "$cores"} \
    /bin/sh -c "$*" </dev/null
END
    chmod +x "$hosts_at/agent"
}

end_hosts() {
    kill $hosts_pid 2>/dev/null
    wait $hosts_pid 2>/dev/null
}

on_front() {
    nsenter -t "$(cat "$hosts_at/front")" -a --wd="$PWD" "$@"
}

# on HOST CMD..., through a shell
on() {
    on_front "$hosts_at/agent" "$@"
}

job() {
    # shellcheck disable=SC2086
    set -- $MPIEXEC_FLAGS "$MOTLEY" "$@"
    if ! $MPIEXEC --version 2>&1 | grep -q HYDRA; then
        for host in $hosts_names; do
            echo "$host slots=$ranks_each"
        done >"$hosts_at/hostfile"
        set -- --hostfile "$hosts_at/hostfile" --mca plm_rsh_agent "$hosts_at/agent" \
            --map-by slot --bind-to none "$@"
    else
        for host in $hosts_names; do
            echo "$host:$ranks_each"
        done >"$hosts_at/hostfile"
        set -- -f "$hosts_at/hostfile" -launcher rsh -launcher-exec "$hosts_at/agent" \
            -iface net0 "$@"
    fi
    on_front "$MPIEXEC" -n "$(($(echo "$hosts_names" | wc -w) * ranks_each))" "$@"
}

sent() {
    on "$1" cat /proc/net/dev | awk '$1 == "net0:" { print $10 }'
}
