#!/bin/sh
# slurm.sh -- proves that `srun` starts a job as `mpirun` does, under a Slurm of the test's own making
# on this host: processes find each other and share the processor, training has the loss of one
# process, a wrong configuration ends every process with code 2, and Slurm's signal before the end
# of the time (scancel) ends them with code 3 and a checkpoint.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
need_device
need_mpi
PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd srun scancel; do
    command -v $program >/dev/null || { echo "SKIP slurm: $program is missing"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "SKIP slurm: its daemons are started as root"; exit 77; }
[ "$(getconf _NPROCESSORS_ONLN)" -ge 2 ] || { echo "SKIP slurm: two cores are needed"; exit 77; }
case $($MPIEXEC --version 2>&1) in
*HYDRA*) pmi=pmi2 ;;
*) pmi=pmix ;;
esac

# ---- a cluster of one host ------------------------------------------------------------------

at=$(mktemp -d) || exit 99   # a short path, as sockets need
host=$(uname -n) port=$((20000 + $$ % 20000))
mkdir "$at/state" "$at/spool"
end_slurm() {
    for daemon in slurmd slurmctld munged; do
        kill "$(cat "$at/$daemon.pid" 2>/dev/null)" 2>/dev/null
    done
    sleep 1
    rm -rf "$at"
}
trap end_slurm EXIT
trap 'exit 99' INT TERM HUP
head -c 1024 /dev/urandom >"$at/key"
chmod 400 "$at/key"
munged --force --key-file="$at/key" --socket="$at/munge" --pid-file="$at/munged.pid" \
    --log-file="$at/munged.log" --seed-file="$at/seed" 2>/dev/null || exit 99
cat >"$at/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$at/munge
SlurmUser=root
StateSaveLocation=$at/state
SlurmdSpoolDir=$at/spool
SlurmctldPidFile=$at/slurmctld.pid
SlurmdPidFile=$at/slurmd.pid
SlurmctldLogFile=$at/slurmctld.log
SlurmdLogFile=$at/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
SLURM_CONF=$at/slurm.conf
export SLURM_CONF
slurmctld && slurmd || { cat "$at"/*.log; exit 99; }
for i in $(seq 100); do
    sinfo -h 2>/dev/null | grep -q idle && break
    sleep 0.1
done
sinfo -h | grep -q idle || { cat "$at"/*.log; exit 99; }
srun --mpi=list 2>&1 | grep -q $pmi || { echo "SKIP slurm: srun has no $pmi"; exit 77; }

# ---- jobs -----------------------------------------------------------------------------------

small_config
config=$TMPDIR/small.yaml

srun --mpi=$pmi -n 2 "$MOTLEY" devices >"$TMPDIR/out" 2>&1 || say "motley devices failed"
[ "$(awk '$1 ~ /^[01]$/ { printf "%s:%s ", $1, $4 }' "$TMPDIR/out")" = "0:1 1:1 " ] ||
    say "two processes with a core each: $(cat "$TMPDIR/out")"

"$MOTLEY" train "$config" --quiet --folder "$TMPDIR/one" || say "training on one process failed"
srun --mpi=$pmi -n 2 "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/two" ||
    say "training under srun failed"
for run in one two; do
    grep '"event":"eval"' "$TMPDIR/$run/metrics.jsonl" | tail -n 1 >"$TMPDIR/$run.eval"
done
one=$(number loss "$TMPDIR/one.eval") two=$(number loss "$TMPDIR/two.eval")
echo "held-out loss: one process $one, srun $two"
near "$one" "$two" 1e-4 || say "losses differ by more than 1e-4"

srun --mpi=$pmi -n 2 "$MOTLEY" train "$config" --quiet train.batch=none >"$TMPDIR/out" 2>&1
[ $? = 2 ] || say "a wrong configuration: not code 2"
[ "$(grep -c '^motley: ' "$TMPDIR/out")" = 1 ] || say "a wrong configuration: $(cat "$TMPDIR/out")"

srun --mpi=$pmi -n 2 -J long "$MOTLEY" train "$config" train.steps=0 train.seconds=1000 \
    schedule=constant checkpoint.every=0 --folder "$TMPDIR/long" >"$TMPDIR/out" 2>&1 &
job=$!
for i in $(seq 200); do
    sleep 0.05
    grep -q '"step"' "$TMPDIR/long/metrics.jsonl" 2>/dev/null && break
done
scancel -s TERM -n long
wait $job
[ $? = 3 ] || say "told to end: not code 3: $(cat "$TMPDIR/out")"
ls "$TMPDIR/long/checkpoints" 2>/dev/null | grep -q step || say "no checkpoint when told to end"
exit $bad
