# Shared by ./setup, ./run and ./test: Debian packages. Needs steps.sh.

is_debian() {
  command -v apt-get > /dev/null && command -v dpkg-query > /dev/null &&
    grep -qsE '^ID(_LIKE)?=.*debian' /etc/os-release
}

# Entries are names, or alternatives "a|b" (names differ between releases); a
# leading "?" marks what is used if it can be had.
package_installed() { # exactly: "install ok installed"
  case $INSTALLED in *" $1 "*) return 0 ;; esac
  return 1
}

# Sets MISSING to the entries of "$@" of which no alternative is installed.
find_missing() {
  local entry alternative names=()
  MISSING=()
  for entry in "$@"; do
    IFS='|' read -ra alternatives <<< "${entry#\?}"
    names+=("${alternatives[@]}")
  done
  INSTALLED=" $(dpkg-query -W -f '${db:Status-Status} ${Package} ' "${names[@]}" 2> /dev/null |
    tr ' ' '\n' | paste -d' ' - - | awk '$1 == "installed" {printf "%s ", $2}')"
  for entry in "$@"; do
    IFS='|' read -ra alternatives <<< "${entry#\?}"
    for alternative in "${alternatives[@]}"; do
      package_installed "$alternative" && continue 2
    done
    MISSING+=("$entry")
  done
}

package_available() {
  apt-cache policy "$1" 2> /dev/null | grep -q '^  Candidate: [^(]'
}

# Sets CHOSEN to one available name for each entry of MISSING, REQUIRED to those
# of them without a "?", and UNAVAILABLE to the entries that have none.
choose_packages() {
  local entry alternative
  CHOSEN=() REQUIRED=() UNAVAILABLE=()
  for entry in "${MISSING[@]}"; do
    IFS='|' read -ra alternatives <<< "${entry#\?}"
    for alternative in "${alternatives[@]}"; do
      package_available "$alternative" || continue
      CHOSEN+=("$alternative")
      case $entry in \?*) ;; *) REQUIRED+=("$alternative") ;; esac
      continue 2
    done
    case $entry in \?*) ;; *) UNAVAILABLE+=("${entry#\?}") ;; esac
  done
}

apt_update() {
  step "Reading the lists of packages" "$IM_LOGS/apt-update.log" \
    $SUDO apt-get update -q || say "Going on with the lists that are there."
}

apt_install() {
  $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${CHOSEN[@]}"
}

# A file of entries, one a line, with # comments → ENTRIES. "name!program" is
# left out where the program is there already, whoever brought it.
read_packages() {
  local entry
  ENTRIES=()
  while read -r entry; do
    case $entry in *!*) ! command -v "${entry#*!}" > /dev/null || continue ;; esac
    ENTRIES+=("${entry%!*}")
  done < <(sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$@")
}

# install_packages ENTRY…: installs those that are missing; nothing to do is
# quick. Services that come with them are neither started nor enabled; those
# that were there before are not touched.
install_packages() {
  find_missing "$@"
  [ ${#MISSING[@]} -gt 0 ] || return 0
  choose_packages
  if [ ${#CHOSEN[@]} -eq 0 ] && [ ${#UNAVAILABLE[@]} -eq 0 ]; then return 0; fi
  [ -z "$SUDO" ] || say "To be installed with apt-get: ${CHOSEN[*]} ${UNAVAILABLE[*]:-}"
  if [ ${#REQUIRED[@]} -eq 0 ] && [ ${#UNAVAILABLE[@]} -eq 0 ]; then
    sudo_begin "install packages" || { say "Going on without: they are not needed."; return 0; }
  fi
  need_root "install packages"
  if [ ${#UNAVAILABLE[@]} -gt 0 ]; then
    apt_update
    choose_packages
    [ ${#UNAVAILABLE[@]} -eq 0 ] || die "Not in this machine's package lists: ${UNAVAILABLE[*]}
This was made for Debian 12 and 13 (main). See /etc/apt/sources.list*, then run this again."
  fi
  services_hold
  local what="Installing ${CHOSEN[*]:0:3}" done=0
  [ ${#CHOSEN[@]} -le 3 ] || what+=" and $((${#CHOSEN[@]} - 3)) more packages"
  if step "$what" "$IM_LOGS/apt-install.log" apt_install; then done=1; fi
  if [ $done -eq 0 ]; then
    say "Once more, with new lists of packages:"
    apt_update
    if step "$what" "$IM_LOGS/apt-install.log" apt_install; then done=1; fi
  fi
  if [ $done -eq 0 ] && [ ${#REQUIRED[@]} -lt ${#CHOSEN[@]} ]; then
    say "Once more, without what is not needed:"
    CHOSEN=(${REQUIRED[@]+"${REQUIRED[@]}"})
    if [ ${#CHOSEN[@]} -eq 0 ] || step "Installing ${CHOSEN[*]}" "$IM_LOGS/apt-install.log" apt_install; then
      done=1
    fi
  fi
  services_release
  [ $done -eq 1 ] || die "apt-get could not install: ${CHOSEN[*]}
Repair it by hand (the log is $IM_LOGS/apt-install.log), then run this again."
}

# ---- services stay as they were ----
# Debian starts a service when its package is installed. invoke-rc.d and
# deb-systemd-invoke ask /usr/sbin/policy-rc.d first, so for the time of the
# installation ours answers: 101 (forbidden) for what is new, 0 for the rest.

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='Put here by Imaginary Machines for the time of one installation.'
POLICY_OURS=0

service_names() {
  { ls /etc/init.d; ls /lib/systemd/system /usr/lib/systemd/system /etc/systemd/system; } 2> /dev/null |
    sed -n 's/\.service$//p; /^[A-Za-z0-9_.@-]*$/{/\./!p}' | sort -u
}

services_hold() {
  SERVICES_BEFORE=$(service_names)
  if [ -e "$POLICY" ] && ! grep -qs "$POLICY_MARK" "$POLICY"; then return 0; fi  # the machine's own decides
  trap 'services_release' EXIT
  POLICY_OURS=1
  $SUDO tee "$POLICY" > /dev/null << EOF
#!/bin/sh
# $POLICY_MARK It may be removed.
# New services are not started (101); those that were there are not touched.
while [ \$# -gt 0 ]; do
  case \$1 in --*) shift ;; *) break ;; esac
done
for known in $(printf '%s ' $SERVICES_BEFORE); do
  [ "\${1%.service}" != "\$known" ] || exit 0
done
exit 101
EOF
  $SUDO chmod 755 "$POLICY"
}

services_release() {
  [ -n "${SERVICES_BEFORE:-}" ] || return 0
  if [ $POLICY_OURS -eq 1 ]; then
    $SUDO rm -f "$POLICY"
    POLICY_OURS=0
    trap - EXIT
  fi
  # New, and wanted at boot.
  local unit new=()
  for unit in $(service_names); do
    printf '%s\n' "$SERVICES_BEFORE" | grep -qxF "$unit" && continue
    if [ -e "/etc/systemd/system/multi-user.target.wants/$unit.service" ] ||
      compgen -G "/etc/rc[2-5].d/S[0-9][0-9]$unit" > /dev/null; then
      new+=("$unit")
    fi
  done
  SERVICES_BEFORE=
  [ ${#new[@]} -gt 0 ] || return 0
  for unit in "${new[@]}"; do
    if command -v systemctl > /dev/null; then
      $SUDO systemctl --quiet disable "$unit.service" > /dev/null 2>&1 || true
    fi
    [ ! -e "/etc/init.d/$unit" ] || $SUDO update-rc.d "$unit" disable > /dev/null 2>&1 || true
  done
  say "New services were not started and are not enabled: ${new[*]}"
  say "  (should one run on this machine itself: systemctl enable --now NAME)"
}
