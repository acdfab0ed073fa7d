# Runs jobs on a board: POSIX sh, no Python. The other side is matrix/engines/ssh/link.py.
#
# It is the command of one SSH connection for a run. Requests are lines on stdin; the bytes of files follow theirs:
#   put NAME BYTES            appends that many bytes to a file
#   drop NAME                 removes a file
#   run NAME SECONDS LOG      runs a job: the file NAME sets its inputs, $outputs and the command line
#   kill                      ends the running job
#   alive                     the orchestrator is there; without a word for 2 minutes all ends
# Answers are lines on stdout, too: `facts` once, then `end`, `log` and `out` for each job, and `over`.
# All files are below one folder, which is removed at the end, however the connection ends.
set -u
umask 077
LC_ALL=C
export LC_ALL
here=
job=

new_folder() {  # the first place that takes files and runs them
  for place in "${TMPDIR:-/tmp}" /tmp /var/tmp "${HOME:-/tmp}"; do
    for number in 1 2 3 4 5 6 7 8 9; do
      here=$place/iree-matrix.$$.$number
      mkdir "$here" 2>/dev/null || continue
      if printf '#!/bin/sh\nexit 42\n' 2>/dev/null >"$here/try" && chmod 700 "$here/try"; then
        "$here/try" 2>/dev/null
        [ $? -eq 42 ] && mkdir "$here/files" 2>/dev/null && return 0
      fi
      rm -rf "$here"
    done
  done
  return 1
}

kill_job() {
  if [ -n "$job" ] && read -r group 2>/dev/null <"$here/pid"; then
    kill -9 "-$group" 2>/dev/null
    kill -9 "$group" 2>/dev/null
  fi
}

leave() {
  trap - EXIT HUP INT TERM PIPE
  kill "$watcher" 2>/dev/null
  : 2>/dev/null >"$here/leaving"
  kill_job
  cd /
  wait
  rm -rf "$here"
  exit "$1"
}

watch() {  # a frozen link says nothing: two minutes without a word end the job, the loop and the folder
  while :; do
    sleep 120 &
    sleeper=$!
    trap 'kill $sleeper 2>/dev/null; exit' TERM
    wait $sleeper
    [ -e "$here/alive" ] || break
    rm -f "$here/alive"
  done
  job=any
  kill_job
  kill -9 $$
  rm -rf "$here"
}

facts() {
  echo "machine $(uname -m)"
  echo "system $(uname -s)"
  echo "kernel $(uname -r)"
  echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null)"
  echo "free $(free_kib)"
  echo "folder $here"
  for program in cat chmod dd df env ln mkdir mv rm sed sleep tail timeout uname wc; do
    command -v $program >/dev/null 2>&1 || echo "lacks $program"
  done
  timeout -s KILL 9 true 2>/dev/null || echo "lacks timeout -s"
  [ -n "$exact" ] || echo "lacks dd iflag=fullblock"
  for file in /sys/class/thermal/thermal_zone0/temp /sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq; do
    [ -r $file ] && read -r value 2>/dev/null <$file && echo "${file##*/} $value"
  done
  sed -n -e 's/^\(processor\|model name\|Model\|Hardware\|CPU part\|Features\)[[:space:]]*:/cpuinfo \1:/p' \
    -e 's/^flags[[:space:]]*:/cpuinfo Features:/p' /proc/cpuinfo
  sed -n -e 's/^MemTotal:/memory/p' /proc/meminfo
}

free_kib() { df -kP "$here" 2>/dev/null | sed -n '2s/.* \([0-9][0-9]*\)  *[0-9-]*%.*/\1/p'; }

find_exact() {  # how to take so many bytes of a pipe and not one more
  exact=
  rest=$(printf 'abcdef' | { dd bs=2 count=2 iflag=fullblock >/dev/null 2>&1; cat; })
  [ "$rest" = ef ] && exact=dd && return
  rest=$(printf 'abcdef' | { head -c 4 >/dev/null 2>&1; cat; })
  [ "$rest" = ef ] && exact=head
}

take() {  # BYTES
  case $exact in
    dd)
      [ "$1" -lt 65536 ] || dd bs=65536 count=$(($1 / 65536)) iflag=fullblock 2>/dev/null
      [ $(($1 % 65536)) -eq 0 ] || dd bs=$(($1 % 65536)) count=1 iflag=fullblock 2>/dev/null
      ;;
    *) head -c "$1" ;;
  esac
}

put() {  # NAME BYTES: what does not fit is read all the same, else the next line would not be one
  take "$2" | { cat 2>/dev/null >>"$here/files/$1" || { : 2>/dev/null >"$here/full"; cat >/dev/null; }; }
}

give() {  # WORD FILE
  size=$(($(wc -c <"$2")))
  echo "$1 ${2##*/} $size"
  cat "$2"
}

work() {  # NAME SECONDS LOG
  mkdir "$here/job" && cd "$here/job" || { echo "fault no folder for the job"; return; }
  [ -r "$here/files/$1" ] && [ ! -e "$here/full" ] || { echo "fault no space for its files"; return; }
  outputs=
  limit=$2 most=$3
  . "$here/files/$1" || { echo "fault its files could not be put into its folder"; return; }
  read -r begun _ </proc/uptime
  timeout -s KILL "$limit" "$@" </dev/null >"$here/log" 2>&1 &
  echo $! >"$here/pid"
  [ ! -e "$here/leaving" ] || kill_job
  wait $!
  status=$?
  read -r ended _ </proc/uptime
  echo "end $status $begun $ended"
  times
  echo "free $(free_kib)"
  if [ $(($(wc -c <"$here/log"))) -gt "$most" ]; then
    echo "whole $(($(wc -c <"$here/log")))"
    dd if="$here/log" bs=$((most / 2)) count=1 2>/dev/null >"$here/ends"
    tail -c $((most / 2)) "$here/log" >>"$here/ends"
    mv "$here/ends" "$here/log"
  fi
  give log "$here/log"
  for file in $outputs; do
    [ -f "$file" ] && [ ! -L "$file" ] && give out "$file"
  done
}

run() {
  work "$@"
  cd "$here"
  rm -rf "$here/job" "$here/pid" "$here/log"
  if [ -e "$here/full" ]; then echo "full $(free_kib)"; rm -f "$here/full"; fi
  echo over
}

watcher=
new_folder || { echo "fault no folder takes files that can be run"; exit 1; }
trap 'leave 1' HUP INT TERM PIPE
trap 'leave 0' EXIT
watch >/dev/null 2>&1 </dev/null &
watcher=$!
find_exact
facts
echo over
while read -r word name first second; do
  : 2>/dev/null >"$here/alive"
  case $word in
    put) put "$name" "$first" ;;
    drop) rm -f "$here/files/$name" ;;
    run)
      ( trap - EXIT HUP INT TERM PIPE; run "$name" "$first" "$second" ) &
      job=$!
      ;;
    kill) kill_job ;;
    alive) ;;
    *) echo "fault no request: $word"; break ;;
  esac
done
