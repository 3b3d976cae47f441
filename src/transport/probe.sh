# Looks at a machine: one `key=value` a line on stdout. $build, $scratch and $mode (keep, look) are set before.
# Only what POSIX gives, and only a shell's own words where they do: dash, busybox and bash all read this.
export LC_ALL=C
umask 077
uid=$(id -u)
host=$(uname -n)
made=
say() { printf '%s=%s\n' "$1" "$2"; }
# A path that means the same to every shell, so that it can stand in a command line as it is.
plain() {
    case $1 in *[!A-Za-z0-9/._+-]*) return 1 ;; /*) return 0 ;; esac
    return 1
}
free_kb() { df -Pk "$1" 2>/dev/null | sed -n '2s/.* \([0-9][0-9]*\)  *[0-9-]*%.*/\1/p'; }
# The type of the file system that a folder is on.
kind() {
    at=$(df -Pk "$1" 2>/dev/null | sed -n '2s/.*%  *//p')
    while read -r _ where type _; do
        [ "$where" != "$at" ] || found=$type
    done </proc/mounts
    printf %s "$found"
}
runs_programs() {
    try=$1/.try.$host.$$
    printf '#!/bin/sh\nexit 0\n' >"$try" && chmod 700 "$try" && "$try"
    ran=$?
    rm -f "$try"
    return $ran
}
# Makes a folder that is ours alone. What somebody else made before us, or a link in a folder that all can write to,
# is refused: who owns it could put a program of theirs in it.
own_folder() {
    plain "$1" || { why='its name has characters that shells interpret' && return 1; }
    if [ ! -d "$1" ]; then
        mkdir -p "$1" || { why="it cannot be made, with $(free_kb "${1%/*}") KB free" && return 1; }
        made="$1 $made"
    fi
    # Only now, since mkdir makes nothing through a link; once the folder is ours, nobody can put a link in its place.
    case $1 in
    /var/tmp/* | /tmp/* | */runner-"$uid") [ ! -h "$1" ] || { why='it is a link' && return 1; } ;;
    esac
    [ -O "$1" ] || { why='somebody else made it' && return 1; }
    chmod 700 "$1"
    : >"$1/.try.$host.$$" || { why='it cannot be written to' && return 1; }
    printf '%4096s' '' >"$1/.try.$host.$$" ||
        { why="its disk is full, with $(free_kb "$1") KB free" && rm -f "$1/.try.$host.$$" && return 1; }
    rm -f "$1/.try.$host.$$"
}
find_folder() {
    for folder in "${XDG_CACHE_HOME:-$HOME/.cache}/runner" "/var/tmp/runner-$uid" "/tmp/runner-$uid"; do
        if ! own_folder "$folder"; then
            say refused "$folder: $why"
        elif ! runs_programs "$folder"; then
            say refused "$folder: it does not allow execution (noexec)"
        else
            say folder "$folder"
            [ ! -x "$folder/$build-$arch/runner" ] || { say cached yes && touch -c "$folder/$build-$arch"; }
            return
        fi
    done
}
# 0 is a real local disk where programs run; 1 one where they do not; 2 and 3 the same in memory or over a network.
rank() {
    rank=0
    runs_programs "$1" || rank=1
    case $(kind "$1") in
    tmpfs | ramfs | nfs* | cifs | smb* | fuse* | 9p | lustre | gpfs | beegfs* | ceph | afs) rank=$((rank + 2)) ;;
    esac
}
find_scratch() {
    best=9
    set -- "/var/tmp/runner-$uid" "/tmp/runner-$uid" "${XDG_CACHE_HOME:-$HOME/.cache}/runner"
    [ -z "$scratch" ] || set -- "$scratch/runner-$uid"
    for folder; do
        if own_folder "$folder"; then
            rank "$folder"
            [ "$rank" -ge "$best" ] || { best=$rank && chosen=$folder; }
            [ "$best" != 0 ] || break
        else
            say scratch_refused "$folder: $why"
        fi
    done
    [ "$best" != 9 ] || return 0
    say scratch "$chosen"
    say scratch_rank "$best"
    say disk_free_kb "$(free_kb "$chosen")"
}

# The processors that we may use: those we may run on, and no more than the quotas allow; at least one.
cores() {
    cores=$(nproc || getconf _NPROCESSORS_ONLN || grep -c ^processor /proc/cpuinfo)
    for quota in $(quotas </proc/self/cgroup); do
        [ "$quota" -ge "$cores" ] || cores=$quota
    done
    [ "$cores" -ge 1 ] || cores=1
    echo "$cores"
}

arch=$(uname -m)
groups=/sys/fs/cgroup
say system "$(uname -s)"
say arch "$arch"
say hostname "$host"
say uid "$uid"
say cores "$(cores)"
read -r load _ </proc/loadavg && say load "$load"
while read -r key value _; do
    [ "$key" != MemTotal: ] || { say memory_kb "$value" && break; }
done </proc/meminfo
say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
say mounts "$(readlink /proc/self/ns/mnt)"
say machine "$(cat /etc/machine-id)"
say ssh "$(ssh -V 2>&1 | grep '^OpenSSH')"
command -v gzip >/dev/null && say gzip yes
say home "$HOME"
say connection "$SSH_CONNECTION"
for key in /etc/ssh/ssh_host_*_key.pub; do
    [ ! -r "$key" ] || say host_key "$(cut -d ' ' -f 1,2 "$key")"
done
find_folder
# The binary's folder stays where somebody wants to work; for its scratch files a worker makes its own.
[ "$mode" = look ] || made=
find_scratch
# Only empty ones go, so that nothing of anybody's is lost.
for folder in $made; do rmdir "$folder" 2>/dev/null; done
if [ "$mode" = look ]; then
    say ping 1
    read -r _
    say pong 1
fi
say end 1
exit 0
