import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, count, duration, percent } from "../src/format.ts";

test("figures are short, and have their units", () => {
  assert.deepEqual([0, 999, 1000, 12_345, 999_900, 3e9].map(bytes),
    ["0 B", "999 B", "1.0 kB", "12 kB", "1.0 MB", "3.0 GB"]);
  assert.deepEqual([0.02, 0.9, 4.21, 999, 1500, 61_000, 3_600_000, 86_400_000 * 2.5].map(duration),
    ["20 µs", "900 µs", "4.2 ms", "999 ms", "1.5 s", "1 min 1 s", "1 h", "2 d 12 h"]);
  assert.deepEqual([0, 1, 0.0001, 0.5, 0.987, 0.9999].map(percent),
    ["0 %", "100 %", "< 0.1 %", "50 %", "98.7 %", "> 99.9 %"]);
  assert.deepEqual([-5, 900, 1900].map(ago), ["0 s", "0 s", "1 s"]);
  assert.equal(count(10_000), "10\u202f000");
});
