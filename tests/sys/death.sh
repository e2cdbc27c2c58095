#!/bin/sh
# death.sh -- proves that a job ends within 10 seconds when one of its processes is killed, leaves,
# or hangs longer than the time limit: with an exit code that is not 0 and one message that names
# rank, host and device.
# Time: 180
[ -n "$MPIEXEC" ] || { echo "SKIP mpi: this build has no MPI"; exit 77; }
die=$top_builddir/tests/sys/die$EXEEXT
bad=0

# try RANKS HOW VICTIM WAY WORDS -- WORDS: what the message says about the victim
try() {
    begin=$(date +%s)
    $MPIEXEC $MPIEXEC_FLAGS -n "$1" "$die" "$2" "$3" "$4" >"$TMPDIR/out" 2>&1 </dev/null
    code=$?
    took=$(($(date +%s) - begin))
    said=$(grep -c "^die: " "$TMPDIR/out")
    right=$(grep -c "^die: rank $3 (host $(uname -n), toy $3) $5" "$TMPDIR/out")
    echo "$1 ranks, $2 of rank $3 in $4: code $code after $took s, $said message(s)"
    if [ $code = 0 ] || [ $took -gt 10 ] || [ "$said" -gt 1 ] ||
        [ "$said" != "$right" ] || [ "$said" -lt $least ]; then
        sed 's/^/    | /' "$TMPDIR/out"
        bad=1
    fi
}

# MPICH's launcher kills the others at once, mostly before they can say anything, and tells about
# it itself (EXIT STRING: Killed).
least=1
if $MPIEXEC --version 2>&1 | grep -q HYDRA; then
    least=0
fi

for way in sum reduce; do
    try 2 kill 0 $way died
    try 2 kill 1 $way died
    try 3 kill 1 $way died
    try 4 kill 0 $way died
done
if [ $least = 1 ]; then   # MPICH's takes a process that leaves for a job that is done
    try 2 exit 1 sum died
    try 3 exit 0 reduce died
fi
try 3 hang 1 sum 'did not answer for'
exit $bad
