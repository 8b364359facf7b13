import assert from "node:assert/strict";
import { test } from "node:test";
import { hit, layoutOf } from "../src/layout.ts";

for (const count of [1, 3, 14, 15, 60, 400, 10_000]) {
  test(`${count} hosts are all on the map, apart, and found where they are`, () => {
    const layout = layoutOf(count, 800, 420);
    assert.equal(layout.places.length, count);
    const seen = new Set<string>();
    layout.places.forEach(({ x, y }, i) => {
      assert.ok(x >= 0 && x <= 800 && y >= 0 && y <= 420, `${i}: ${x},${y}`);
      seen.add(`${x.toFixed(2)},${y.toFixed(2)}`);
      assert.equal(hit(layout, x, y), i);
    });
    assert.equal(seen.size, count);
  });
}

test("names are shown where there is room for them", () => {
  assert.equal(layoutOf(14, 800, 420).labels, true);
  assert.equal(layoutOf(40, 800, 420).labels, true);
  assert.equal(layoutOf(400, 800, 420).labels, false);
  assert.equal(layoutOf(10_000, 800, 420).kind, "dense");
});

test("beside the hosts there is none", () => {
  const grid = layoutOf(50, 800, 420);
  assert.equal(hit(grid, 2, 2), -1);
  assert.equal(hit(grid, 795, 415), -1);  // behind the last one
  assert.equal(hit(layoutOf(3, 800, 420), 430, 60), -1);
  assert.equal(hit(layoutOf(0, 800, 420), 400, 200), -1);
});
