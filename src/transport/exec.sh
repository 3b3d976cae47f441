# Runs $command, and kills all of it when stdin ends, since sshd leaves a process alone whose connection has gone.
# Its exit code comes behind a second marker: ssh itself reports 127 and deaths by signal ambiguously.
exec 3<&0 </dev/null
begin
if command -v setsid >/dev/null; then
    setsid sh -c "$command" 3<&- &
    task=$!
    group=-$task
else
    sh -c "$command" 3<&- &
    task=$!
    group=$task
fi
# dash knows the signal only in this spelling.
{ cat <&3 && kill -s KILL -- "$group"; } >/dev/null 2>&1 &
watcher=$!
wait "$task"
code=$?
# First of all the watcher: the number of a task that has ended may soon be another's.
kill -s KILL "$watcher" 2>/dev/null
begin
printf 'code=%s\n' "$code"
exit 0
