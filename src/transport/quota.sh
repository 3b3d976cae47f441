# How many processors control groups let us have. $groups is where they are mounted; memberships come on stdin, as
# /proc/self/cgroup has them.

# The whole processors that one group grants; nothing where it sets no quota.
quota_of() {
    max= period=
    if [ -r "$1/cpu.max" ]; then
        read -r max period <"$1/cpu.max"
    elif [ -r "$1/cpu.cfs_quota_us" ]; then
        read -r max <"$1/cpu.cfs_quota_us"
        read -r period <"$1/cpu.cfs_period_us"
    fi
    case $max in '' | *[!0-9]*) return ;; esac
    echo $((max / period))
}
# The quotas of our groups and those above, of both versions. In a container a group's name may be that on the host,
# of which only the top is to be seen here: that top is the container's.
quotas() {
    while IFS=: read -r _ controllers group; do
        case ,$controllers, in
        ,,) roots="$groups $groups/unified" ;;
        *,cpu,*) roots="$groups/cpu $groups/cpu,cpuacct" ;;
        *) continue ;;
        esac
        for root in $roots; do
            at=$group
            while quota_of "$root$at"; [ -n "${at#/}" ]; do at=${at%/*}; done
        done
    done
}
