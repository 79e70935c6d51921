# Holds a board for one job, in the POSIX shell (dash, bash, busybox). It is started with the connection and ends with
# it: its standard input is the job's. Whatever ends the job, the runner is ended and the job's folder removed.
#
# Set before: job (name of the folder), holder (who asks, for others to read), room_kib (bound of the kept files),
# beat_s and beats (a job that sent no line for so many times so long is gone).
# Says: "lacks TOOL", "refused WHY", "busy HOLDER" (again and again while it waits), then "ready FOLDER".

umask 077
for tool in sha256sum readlink sleep rm mkdir mv cat ls du ln chmod head tail touch; do
  command -v "$tool" > /dev/null 2>&1 || { echo "lacks $tool"; exit 0; }
done
cache="${XDG_CACHE_HOME:-$HOME/.cache}/edgegen-board"
mkdir -p "$cache/blobs" "$cache/runs" 2> /dev/null || { echo "refused no folder can be made at $cache"; exit 0; }
cd "$cache" && cache=$(pwd -P) || { echo "refused $cache cannot be entered"; exit 0; }

# One lock for all users of the board where that can be had. The file is only read: nobody can make us write elsewhere.
lock="${TMPDIR:-/tmp}/edgegen-board.lock"
[ -e "$lock" ] || ( set -C; umask 0; : > "$lock" ) 2> /dev/null
[ -r "$lock" ] || { lock="$cache/lock"; : >> "$lock"; }
exec 9< "$lock" || { echo "refused $lock cannot be opened"; exit 0; }

# When a process was started, in ticks since the kernel's start: a number alone may be another process's by now.
born() {
  read -r stat < "/proc/$1/stat" || return 1
  set -- ${stat##*) }
  echo "${20}"
} 2> /dev/null

# Whether the guard that a link names runs.
lives() {
  named=$(readlink "$1") || return 1
  pid=${named#*.}
  [ "${named%%.*}" = "$boot" ] && [ "$(born "${pid%.*}")" = "${named##*.}" ]
}

# Tries once. Without flock (Debian's busybox has none) the lock is a link whose text is its owner, made in one step. One
# whose owner is gone is removed, under a lock of the same kind.
take() {
  [ -n "$linked" ] || { flock -n 9; return; }
  ln -s "$me" "$lock.link" && return
  if ln -s "$me" "$lock.change"; then
    lives "$lock.link" || rm -f "$lock.link"
    rm -f "$lock.change"
  else
    lives "$lock.change" || rm -f "$lock.change"
  fi
  return 1
} 2> /dev/null

read -r boot < /proc/sys/kernel/random/boot_id
me="$boot.$$.$(born $$)"
linked=
command -v flock > /dev/null 2>&1 || linked=yes
until take; do
  by=
  read -r by 2> /dev/null < "$cache/holder"
  echo "busy ${by:-another user of the board}" || exit 1
  sleep 1
done
echo "$holder" > "$cache/holder"

# Ends what a job left running in its folder, and removes the folder. What is just being made there can outrun rm.
forget() {
  tries=0
  while [ -e "$1" ] && [ "$tries" -lt 20 ]; do
    [ "$tries" -eq 0 ] || sleep 1
    tries=$((tries + 1))
    ls -l /proc/[0-9]*/cwd | while read -r line; do
      case $line in
        *" -> $1")
          pid=${line%%/cwd*}
          kill -9 "${pid##*/proc/}"
          ;;
      esac
    done
    rm -rf "$1"
  done
} 2> /dev/null

# Removes the kept files that were used longest ago, until the others fit.
bound() {
  cd "$cache/blobs" || return
  left=$room_kib
  ls -t | while read -r name; do
    size=$(du -k "$name") && left=$((left - ${size%%[!0-9]*})) && [ "$left" -lt 0 ] && rm -f "$name"
  done
} 2> /dev/null

for old in "$cache"/runs/*; do
  [ ! -d "$old" ] || forget "$old"
done
bound

work="$cache/runs/$job"
mkdir "$work" 2> /dev/null || { echo "refused no folder can be made at $work"; exit 0; }
(
  trap - HUP INT TERM PIPE
  last=
  silent=0
  while sleep "$beat_s" && kill -0 $$; do
    now=
    read -r now < "$work/beat"
    [ "$now" = "$last" ] && silent=$((silent + 1)) || silent=0
    last=$now
    [ "$silent" -lt "$beats" ] || { kill -9 $$; break; }
  done
  forget "$work"
) 9<&- < /dev/null > /dev/null 2>&1 &
watcher=$!

clean() {
  trap '' HUP INT TERM PIPE
  forget "$work"
  bound
  kill "$watcher"
  rm -f "$cache/holder"
  [ -z "$linked" ] || [ "$(readlink "$lock.link")" != "$me" ] || rm -f "$lock.link"
} 2> /dev/null
trap clean EXIT
trap 'exit 1' HUP INT TERM PIPE

echo "ready $work"
while read -r line; do
  [ "$line" != bye ] || exit 0
  echo "$line" > "$work/beat"
done
exit 0
