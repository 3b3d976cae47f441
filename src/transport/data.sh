# Becomes our binary as the owner of a data folder, or says that the binary is not there. $build, $data, $name and
# $missing are set before. This is all that a listing waits for, so it asks for no more than it must: what probe.sh has prepared is
# only found again. What somebody else could have put there is passed over.
umask 077
arch=$(uname -m)
try() {
    [ -O "$1" ] && [ -x "$1/$build-$arch/runner" ] || return 0
    case $1 in /tmp/* | /var/tmp/*) [ ! -h "$1" ] || return 0 ;; esac
    if [ -n "$data" ]; then
        exec "$1/$build-$arch/runner" worker data --name "$name" --folder "$data"
    fi
    exec "$1/$build-$arch/runner" worker data --name "$name"
}
try "${XDG_CACHE_HOME:-$HOME/.cache}/runner"
uid=$(id -u)
try "/var/tmp/runner-$uid"
try "/tmp/runner-$uid"
begin
printf '%s' "$missing"
exit 0
