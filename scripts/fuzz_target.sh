#!/bin/bash
# fuzz_target.sh TARGET SECONDS: runs one fuzz target from the top of the tree,
# with the seeds of tests/corpus. What it learns is kept in build-fuzz/corpus, a
# finding in build-fuzz/findings. If it fails, the end of its log is shown and
# build-fuzz/NAME.failed is left.
set -u
target=$1 seconds=$2
name=$(basename "$target")
corpus=(build-fuzz/corpus/"$name")
mkdir -p "${corpus[0]}" build-fuzz/findings
[ ! -d "tests/corpus/$name" ] || corpus+=("tests/corpus/$name")
"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
  -artifact_prefix=build-fuzz/findings/"$name"- "${corpus[@]}" > "build-fuzz/$name.log" 2>&1 && exit 0
echo "$name failed (log: build-fuzz/$name.log):"
tail -n 40 "build-fuzz/$name.log"
touch "build-fuzz/$name.failed"
exit 1
