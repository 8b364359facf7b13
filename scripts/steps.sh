# Shared by ./setup, ./run and ./test: messages, and steps with progress.
# Sourced by bash, from the top of the tree, with `set -u`.

IM_LOGS=build
interactive() { [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; }

say() { printf '%s\n' "$*"; }
die() { printf '\n%s\n' "$*" >&2; exit 1; }

# How to become root, for the few things that need it.
if [ "$(id -u)" -eq 0 ]; then SUDO=""; else SUDO="sudo"; fi

# sudo asks once, at the beginning, and is kept fresh until the script ends:
# what needs it may come ten minutes later. Returns 1 if it does not let us.
sudo_begin() {  # sudo_begin "what for"
  [ -n "$SUDO" ] || return 0
  command -v sudo > /dev/null || return 1
  if ! sudo -n true 2> /dev/null; then
    [ -t 0 ] || return 1
    say "Root is needed to $1; sudo may ask for your password."
    sudo -v || return 1
  fi
  [ -z "$SUDO_REFRESH" ] || return 0
  sudo_refresh $$ &
  SUDO_REFRESH=$!
  disown
}
SUDO_REFRESH=
sudo_refresh() {  # in the background, for as long as process $1 lives
  exec > /dev/null 2>&1 < /dev/null
  trap - INT TERM EXIT
  while sleep 30 && kill -0 "$1"; do sudo -n -v || return; done
}

# Or ends here, and says what to do.
need_root() {  # need_root "what for"
  sudo_begin "$1" && return 0
  if ! command -v sudo > /dev/null; then
    die "Root is needed to $1, and there is no sudo here.
Run this as root; or let root install sudo and give it to you: adduser $(id -un) sudo"
  elif [ ! -t 0 ]; then
    die "Root is needed to $1, and sudo asks for a password, which cannot be typed here.
Run 'sudo -v' on this terminal first, or run this as root."
  fi
  die "Root is needed to $1, and sudo did not let $(id -un).
Run this as root; or let root give you sudo: adduser $(id -un) sudo"
}

# seconds → "2 min 3 s"
duration() {
  if [ "$1" -ge 60 ]; then printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}

# The last "[12/345]" (Ninja) or "12/34 " (ctest) of a log.
progress() {
  tail -c 4000 "$1" 2> /dev/null | grep -oE '^ *[0-9]+/[0-9]+ |^\[[0-9]+/[0-9]+\]' | tail -n 1
}

# step "What it does" LOG COMMAND…: runs COMMAND with its output in LOG; one
# line of progress that moves on a terminal. On failure the last STEP_TAIL lines
# of the log are shown. Returns the command's status.
step() {
  local what=$1 log=$2 start=$SECONDS pid status=0 told=0
  shift 2
  mkdir -p "$(dirname "$log")"
  # A process group of its own, so that Ctrl-C ends all of it.
  set -m
  "$@" > "$log" 2>&1 < /dev/null &
  pid=$!
  set +m
  STEP_PID=$pid
  while [ -d "/proc/$pid" ]; do
    if interactive; then
      printf '\r\033[K%s … %s %s' "$what" "$(progress "$log")" "$(duration $((SECONDS - start)))"
    elif [ $told -eq 0 ] && [ $((SECONDS - start)) -gt 1 ]; then
      printf '%s …\n' "$what"
      told=1
    fi
    sleep 0.1
  done
  ! interactive || printf '\r\033[K'
  wait "$pid" || status=$?
  STEP_PID=
  if [ $status -eq 0 ]; then
    # What took no time is not worth a line.
    [ $((SECONDS - start)) -le 1 ] || printf '%s: done, %s\n' "$what" "$(duration $((SECONDS - start)))"
  else
    printf '%s: FAILED after %s. The end of %s:\n\n' "$what" "$(duration $((SECONDS - start)))" "$log"
    tail -n "${STEP_TAIL:-30}" "$log"
    printf '\n'
  fi
  return $status
}

# Ctrl-C ends the step that runs, too.
STEP_PID=
interrupted() {
  [ -z "$STEP_PID" ] || kill -- "-$STEP_PID" 2> /dev/null
  printf '\n%s\n' "Interrupted." >&2
  exit 130
}
trap interrupted INT TERM
