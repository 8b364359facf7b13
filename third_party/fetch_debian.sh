#!/bin/sh
# Fetches what CMake asks for out of Debian, with apt's own means, from the
# mirror that this machine is configured with. The system's apt configuration
# and lists are read, never changed: lists and downloads live in DEST. Works
# without root.
#
#   fetch_debian.sh source  SUITE PACKAGE VERSION SHA256 DEST   -> DEST/src
#   fetch_debian.sh tarball SUITE PACKAGE VERSION SHA256 DEST   -> DEST/src, without Debian's patches
#   fetch_debian.sh package PACKAGE DEST                        -> DEST/root
#
# SHA256 is that of the upstream tarball (*.orig.tar.*). When VERSION has left
# the suite, the suite's newest is taken instead, if its upstream tarball is
# the same: it differs in Debian's patches, which apt has verified. What is
# there already is not fetched again.
set -eu

say() { printf '%s\n' "third_party: $*" >&2; }
die() { say "$*"; exit 1; }

need() {
  for tool in "$@"; do
    command -v "$tool" > /dev/null || die "the program $tool is missing; ./setup installs what is needed"
  done
}

# The mirror of the Debian archive itself, not of its security updates.
mirror() {
  found=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2> /dev/null |
    awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ {print $3; exit}')
  if [ -z "$found" ]; then
    # No lists yet: what apt-get update would ask for says it, too.
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    found=$(apt-get update --print-uris 2> /dev/null |
      sed -n "s,^'\(.*\)/dists/$codename/InRelease'.*,\1,p" | grep -v security | head -n 1) || true
  fi
  printf '%s' "$found"
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

# A mirror now and then lacks a file for a moment.
retry() {
  for pause in 0 2 5 10; do
    sleep "$pause"
    "$@" && return 0
    say "failed: $*"
  done
  return 1
}

# $6: "patched", or "plain": the upstream tarball alone.
fetch_source() {
  suite=$1 package=$2 version=$3 sha256=$4 dest=$5 kind=$6
  only=''
  [ "$kind" = patched ] || only=--tar-only
  [ -e "$dest/.done-$version" ] && return 0
  need apt-get dpkg-deb tar xz patch sha256sum
  uri=$(mirror)
  [ -n "$uri" ] || die "apt knows no Debian mirror (on another distribution: get the source of $package yourself)"
  mkdir -p "$dest"
  exec 9> "$dest/.lock"
  flock 9
  [ -e "$dest/.done-$version" ] && return 0
  rm -rf "$dest/download" "$dest/apt"
  mkdir -p "$dest/apt/state/lists/partial" "$dest/apt/cache/archives/partial" "$dest/download"
  ring=$(keyring)
  printf 'deb-src [signed-by=%s] %s %s main\n' "$ring" "$uri" "$suite" > "$dest/apt/sources.list"
  say "fetching the source of $package $version from Debian $suite"
  retry private_apt "$dest" apt-get update >&2 ||
    die "the list of Debian $suite's sources cannot be read from $uri: is the network up?"
  cd "$dest/download"
  if [ "$kind" = plain ] ||
    ! retry private_apt "$dest" apt-get source --download-only "$package=$version" >&2; then
    [ "$kind" = plain ] || say "$package $version is not to be had from $suite (any more); trying the newest there"
    rm -rf "$dest/download" && mkdir "$dest/download" && cd "$dest/download"
    retry private_apt "$dest" apt-get source --download-only $only "$package" >&2 ||
      die "$package cannot be fetched from $suite at $uri"
  fi
  tarball=$(ls "$dest"/download/"$package"_*.orig.tar.* | grep -v '\.asc$' | head -n 1)
  echo "$sha256  $tarball" | sha256sum --check --quiet >&2 ||
    die "$(basename "$tarball") is not the tarball that was pinned (SHA-256 $sha256)"
  rm -rf "$dest/src" && mkdir -p "$dest/src"
  tar -xf "$tarball" -C "$dest/src" --strip-components=1
  # Debian's patches carry the security fixes: they are part of the version.
  [ "$kind" = plain ] || apply_patches
  cd "$dest"
  rm -rf "$dest/apt" "$dest/download"
  touch "$dest/.done-$version"
}

apply_patches() {
  debian=$(ls "$dest"/download/"$package"_*.debian.tar.* | head -n 1)
  tar -xf "$debian" -C "$dest/src"
  if [ -s "$dest/src/debian/patches/series" ]; then
    while read -r patch _; do
      case $patch in ''|'#'*) continue ;; esac
      patch -d "$dest/src" -p1 -s < "$dest/src/debian/patches/$patch" || die "the patch $patch does not apply"
    done < "$dest/src/debian/patches/series"
  fi
}

fetch_package() {
  package=$1 dest=$2
  [ -e "$dest/.done" ] && return 0
  need apt-get dpkg-deb
  mkdir -p "$dest"
  exec 9> "$dest/.lock"
  flock 9
  [ -e "$dest/.done" ] && return 0
  rm -rf "$dest/download" && mkdir "$dest/download"
  say "fetching the package $package"
  (cd "$dest/download" && retry apt-get download -q -o APT::Sandbox::User=root "$package" >&2) ||
    die "the package $package cannot be fetched: run apt-get update, and see that the network is up"
  rm -rf "$dest/root"
  dpkg-deb -x "$(ls "$dest"/download/"$package"_*.deb | head -n 1)" "$dest/root"
  rm -rf "$dest/download"
  touch "$dest/.done"
}

case ${1:-} in
  source) [ $# -eq 6 ] || die "usage: source SUITE PACKAGE VERSION SHA256 DEST"; shift; fetch_source "$@" patched ;;
  tarball) [ $# -eq 6 ] || die "usage: tarball SUITE PACKAGE VERSION SHA256 DEST"; shift; fetch_source "$@" plain ;;
  package) [ $# -eq 3 ] || die "usage: package PACKAGE DEST"; shift; fetch_package "$@" ;;
  *) die "usage: source … | tarball … | package …" ;;
esac
