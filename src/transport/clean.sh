# Ends what jobs have left on a machine, and removes it: one `key=value` a line on stdout. $jobs (their ids), $scratch and
# $all (yes, no) are set before. Only what POSIX gives, and no binary of ours: there may be no room for one.
export LC_ALL=C
uid=$(id -u)
newline='
'
say() { printf '%s=%s\n' "$1" "$2"; }
# No link, which could lead anywhere, and nobody else's.
is_ours() { [ -d "$1" ] && [ ! -h "$1" ] && [ -O "$1" ]; }
# The processes that work in one of these folders, or were started for an attempt there, whose TMPDIR is in it.
holders() {
    for process in /proc/[0-9]*; do
        [ -O "$process" ] || continue
        if { readlink "$process/cwd" && tr '\0' '\n' <"$process/environ"; } 2>/dev/null | sed 's|$|/|' | grep -qF -e "$1"; then
            printf '%s\n' "${process#/proc/}"
        fi
    done
}
# The folder of a worker, and what it says of its slots, which lies beside those of others.
remove() {
    rm -rf "$1" 2>/dev/null || { chmod -R u+rwx "$1" && rm -rf "$1"; } 2>/dev/null
    case $1 in
    */jobs/*) rm -f "${1%/jobs/*}"/slots/*/"${1##*/}" 2>/dev/null ;;
    esac
    if [ -e "$1" ]; then say left "$1"; else say removed "$1"; fi
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/runner
set -- "/var/tmp/runner-$uid" "/tmp/runner-$uid" "$cache"
[ -z "$scratch" ] || set -- "$@" "$scratch/runner-$uid"
begin
folders=
for root; do
    is_ours "$root" && is_ours "$root/jobs" && real=$(cd "$root/jobs" && pwd -P) || continue
    for job in $jobs; do
        for folder in "$real/$job"-w[0-9]*; do
            [ ! -d "$folder" ] || folders=$folders$folder/$newline
        done
    done
done
# Without the last newline, behind which every line of a process would match.
folders=${folders%"$newline"}
if [ -n "$folders" ]; then
    tries=0
    while pids=$(holders "$folders") && [ -n "$pids" ] && [ "$tries" -lt 20 ]; do
        # One that ends makes others come to us: they are met in the next round.
        for pid in $pids; do kill -s KILL "$pid" 2>/dev/null && say ended "$pid"; done
        [ "$tries" -lt 5 ] || sleep 1
        tries=$((tries + 1))
    done
    printf '%s\n' "$folders" | while IFS= read -r folder; do remove "${folder%/}"; done
fi
# Lines by which workers let each other in go once their workers are gone; our binary knows them, of any build.
keys=$HOME/.ssh/authorized_keys
if grep -q ' runner-job ' "$keys" 2>/dev/null; then
    for root; do
        for binary in "$root"/*/runner; do
            ! is_ours "$root" || [ ! -x "$binary" ] || "$binary" worker sweep </dev/null >/dev/null 2>&1
        done
    done
    for job in $jobs; do
        ! grep -q " runner-job $job " "$keys" 2>/dev/null || say left "a line for $job in $keys"
    done
fi
if [ "$all" = yes ]; then
    busy=
    for root; do
        is_ours "$root" && is_ours "$root/jobs" && real=$(cd "$root/jobs" && pwd -P) || continue
        for folder in "$real"/*-w[0-9]*; do
            [ -d "$folder" ] || continue
            if [ -n "$(holders "$folder/")" ]; then busy=$folder; else remove "$folder"; fi
        done
    done
    for root; do
        is_ours "$root" || continue
        for build in "$root"/*/runner; do
            [ -f "$build" ] || continue
            # Who is connected anew needs it.
            if [ -n "$busy" ]; then say left "$build (for ${busy##*/}, which runs)"; else remove "${build%/runner}"; fi
        done
    done
fi
for root; do
    ! is_ours "$root" || rmdir "$root"/slots/* "$root/slots" "$root/jobs" "$root" 2>/dev/null
done
say end 1
exit 0
