#!/bin/sh
# Fetches what CMake asks for out of Debian, with apt's own means, from the
# mirror that this machine is configured with. The system's apt configuration
# and lists are read, never changed: lists and downloads live in DEST.
#
#   fetch_debian.sh source  SUITE PACKAGE VERSION SHA256 DEST   -> DEST/src
#   fetch_debian.sh package PACKAGE DEST                        -> DEST/root
#
# SHA256 is that of the upstream tarball (*.orig.tar.*). What is there already
# is not fetched again.
set -eu

say() { printf '%s\n' "third_party: $*" >&2; }
die() { say "$*"; exit 1; }

# The mirror of the configured Debian archive: the first one whose origin is
# Debian and that serves the component main.
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ {print $3; exit}'
}

keyring() {
  for k in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
    [ -r "$k" ] && { echo "$k"; return; }
  done
  die "no Debian archive keyring: apt-get install debian-archive-keyring"
}

# apt with lists, caches and sources of its own below $1.
private_apt() {
  dir=$1; shift
  "$@" -q -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
       -o Dir::State="$dir/apt/state" -o Dir::State::status=/dev/null -o Dir::Cache="$dir/apt/cache" \
       -o APT::Get::List-Cleanup=0 -o APT::Sandbox::User=root -o Acquire::Languages=none
}

retry() {
  for attempt in 1 2 3 4; do
    "$@" && return 0
    say "attempt $attempt failed: $*"
  done
  return 1
}

fetch_source() {
  suite=$1 package=$2 version=$3 sha256=$4 dest=$5
  [ -e "$dest/.done-$version" ] && return 0
  uri=$(mirror)
  [ -n "$uri" ] || die "no Debian mirror in apt's configuration (run apt-get update once), or give IM_LWIP_SOURCE_DIR"
  mkdir -p "$dest/apt/state/lists/partial" "$dest/apt/cache/archives/partial" "$dest/download"
  printf 'deb-src [signed-by=%s] %s %s main\n' "$(keyring)" "$uri" "$suite" > "$dest/apt/sources.list"
  say "fetching the source of $package $version from Debian $suite"
  retry private_apt "$dest" apt-get update >&2 || die "apt-get update for $suite failed"
  (cd "$dest/download" && retry private_apt "$dest" apt-get source --download-only "$package=$version" >&2) ||
    die "$package $version cannot be fetched from $suite"
  tarball=$(ls "$dest"/download/"$package"_*.orig.tar.* | head -n 1)
  echo "$sha256  $tarball" | sha256sum --check --quiet >&2 || die "$tarball is not what was pinned"
  rm -rf "$dest/src" && mkdir -p "$dest/src"
  tar -xf "$tarball" -C "$dest/src" --strip-components=1
  # Debian's patches carry the security fixes: they are part of the version.
  debian=$(ls "$dest"/download/"$package"_*.debian.tar.* | head -n 1)
  tar -xf "$debian" -C "$dest/src"
  if [ -s "$dest/src/debian/patches/series" ]; then
    while read -r patch _; do
      case $patch in ''|'#'*) continue ;; esac
      patch -d "$dest/src" -p1 -s < "$dest/src/debian/patches/$patch"
    done < "$dest/src/debian/patches/series"
  fi
  rm -rf "$dest/apt" "$dest/download"
  touch "$dest/.done-$version"
}

fetch_package() {
  package=$1 dest=$2
  [ -e "$dest/.done" ] && return 0
  mkdir -p "$dest/download"
  say "fetching the package $package"
  (cd "$dest/download" && retry apt-get download -q -o APT::Sandbox::User=root "$package" >&2) ||
    die "$package cannot be fetched"
  rm -rf "$dest/root"
  dpkg-deb -x "$(ls "$dest"/download/"$package"_*.deb | head -n 1)" "$dest/root"
  rm -rf "$dest/download"
  touch "$dest/.done"
}

case ${1:-} in
  source) [ $# -eq 6 ] || die "usage: source SUITE PACKAGE VERSION SHA256 DEST"; shift; fetch_source "$@" ;;
  package) [ $# -eq 3 ] || die "usage: package PACKAGE DEST"; shift; fetch_package "$@" ;;
  *) die "usage: source … | package …" ;;
esac
