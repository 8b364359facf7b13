#!/usr/bin/env python3
"""Traffic through sessions that live for seconds: a renewal every six, of which
none may cost a packet. One of the long cases: a minute of it, or as long as
IM_SOAK_SECONDS says; twenty minutes before a release.

Usage: soak_test.py IM_TUNNEL [UNITTEST ARGUMENTS]
"""

import os

import lab
import wireguard_go_test

SECONDS = int(os.environ.get("IM_SOAK_SECONDS") or "60")
# Renewed after 6 s, dead after 9: a busy machine may stop everybody for a second.
TIME_DIVISOR = 20


class Soak(lab.PairTest):
    check_renewals = wireguard_go_test.Pair.check_renewals

    def test_no_packet_is_lost_to_renewals(self):
        self.check_renewals("hasty-tunnel", "hasty-tunnel", SECONDS, at_least=SECONDS // 12,
                            time_divisor=TIME_DIVISOR)


if __name__ == "__main__":
    lab.main(long_only=True)
