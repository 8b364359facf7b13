# Used by ./test: what is told at its end. Needs steps.sh.

# What did not run was not tested: each reason once, with what it kept from
# running. On a machine of CI everything can be had: there it is a failure.
tell_not_run() {
  [ ${#NOT_RUN[@]} -gt 0 ] || return 0
  say ""
  say "NOT EVERYTHING WAS TESTED. These did not run:"
  printf '%s\n' "${NOT_RUN[@]}" | awk -F ': ' '
    { name = $1; sub(/^[^:]*: /, "")
      if (!($0 in names)) { order[++n] = $0; names[$0] = name }
      else if (index(", " names[$0] ", ", ", " name ", ") == 0) names[$0] = names[$0] ", " name }
    END { for (i = 1; i <= n; ++i) printf "  %s\n    because: %s\n", names[order[i]], order[i] }'
  if printf '%s\n' "${NOT_RUN[@]}" | grep -q '^e2e_'; then
    say "e2e_* are the tests of whole clusters: whether a host starts on its first packet is not known."
    if [ "${CI:-}" = true ]; then
      say "CI=true: that is a failure."
      FAILED=$((FAILED + 1))
    fi
  fi
  say ""
}
