# Shared by ./setup and ./test: CMake presets. Needs steps.sh.

# Clones of this tree share what the compiler cache knows: paths in it are
# relative, and the folder's own name does not count.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

# Where a preset builds.
build_folder() { if [ "$1" = release ]; then echo build; else echo "build-$1"; fi; }

# As many compilers at a time as there are processors and memory for; one
# needs up to a gigabyte.
build_jobs() {
  local memory_gb processors
  memory_gb=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
  processors=$(nproc)
  if [ "$memory_gb" -lt 1 ]; then memory_gb=1; fi
  if [ "$memory_gb" -lt "$processors" ]; then echo "$memory_gb"; else echo "$processors"; fi
}

# configure PRESET: only if it was not done; Ninja does it again by itself when
# a CMake file changes.
configure() {
  local folder
  folder=$(build_folder "$1")
  if [ -f "$folder/CMakeCache.txt" ] &&
    ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$folder/CMakeCache.txt"; then
    # The tree was moved or copied.
    rm -rf "$folder/CMakeCache.txt" "$folder/CMakeFiles" "$folder/build.ninja"
  fi
  [ ! -f "$folder/build.ninja" ] || return 0
  step "Configuring ($1)" "$folder/configure.log" cmake --preset "$1"
}

# build PRESET "What it does" [TARGET…]
build() {
  local folder what=$2
  folder=$(build_folder "$1")
  shift 2
  step "$what" "$folder/build.log" ninja -C "$folder" -j "$(build_jobs)" "$@"
}
