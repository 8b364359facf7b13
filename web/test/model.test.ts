import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CHANGES_MAX, EVENTS_MAX, FLOW_MS, Model, breathOf, filtered, spansOf, useOf,
  type ClusterEvent, type HostRow, type State,
} from "../src/model.ts";

const cluster = { name: "shop", network: "10.77.0.0/24", domain: "shop.im", version: "0", hosts: 2, at: 5000 };
const row = (id: number, name: string, more: Partial<HostRow> = {}): HostRow =>
  ({ id, name, address: `10.77.0.${id}`, state: "imaginary", since: 0, ...more });
const change = (sequence: number, at: number, from: State, to: State, host = "web"): ClusterEvent =>
  ({ sequence, at, host, from, to });

function shop(): Model {
  const model = new Model();
  model.apply({ kind: "hello", data: cluster }, 1000);
  model.apply({ kind: "hosts", data: [row(3, "db"), row(2, "web")] }, 1000);
  return model;
}

test("hosts are in the order of their numbers", () => {
  assert.deepEqual(shop().order(), [2, 3]);
});

test("a new row takes the place of the old one, and the order stays", () => {
  const model = shop();
  const version = model.hostsVersion;
  model.apply({ kind: "hosts", data: [row(2, "web", { state: "running" })] }, 0);
  assert.equal(model.hosts.get(2)?.state, "running");
  assert.equal(model.hostsVersion, version);
});

test("a guest goes, and its number may come back as another", () => {
  const model = shop();
  model.apply({ kind: "hosts", data: [row(9, "run-1", { guest: true })] }, 0);
  model.apply({ kind: "hosts", data: [{ id: 9, gone: true }] }, 0);
  assert.equal(model.hosts.has(9), false);
  model.apply({ kind: "hosts", data: [row(9, "run-2", { at: 1000, in: 5 })] }, 0);
  assert.deepEqual(model.order(), [2, 3, 9]);
  // Or take its place between two looks.
  model.apply({ kind: "hosts", data: [row(9, "run-3", { at: 2000, in: 9000 })] }, 0);
  assert.equal(model.hosts.get(9)?.rates, undefined);
});

test("after a hello nothing of before is left", () => {
  const model = shop();
  model.apply({ kind: "events", data: [change(1, 10, "imaginary", "starting")] }, 0);
  model.apply({ kind: "traffic", data: { at: 10, flows: [[2, 3, 100]] } }, 0);
  model.apply({ kind: "ready", data: {} }, 0);
  model.apply({ kind: "hello", data: { ...cluster, at: 9000 } }, 1000);
  assert.deepEqual([model.hosts.size, model.events.length, model.flows.size, model.changes.size], [0, 0, 0, 0]);
  assert.equal(model.ready, false);
  assert.equal(model.clockOffset, 8000);
});

test("rates are what grew between two looks at one instance", () => {
  const model = shop();
  const look = (at: number, received: number, cpu_ns: number) =>
    model.apply({ kind: "hosts", data: [row(2, "web", { at, in: received, out: 0, cpu_ns })] }, 0);
  look(1000, 100, 0);
  assert.equal(model.hosts.get(2)?.rates, undefined);
  look(3000, 2100, 1e9);
  assert.deepEqual(model.hosts.get(2)?.rates, { in: 1000, out: 0, cpu: 0.5, at: 3000 });
  look(3000, 2100, 1e9);  // told again
  assert.equal(model.hosts.get(2)?.rates?.in, 1000);
  look(4000, 50, 0);  // another instance counts from zero
  assert.equal(model.hosts.get(2)?.rates?.in, 50);
});

test("events that were told before are ignored, and at most so many are kept", () => {
  const model = shop();
  model.apply({ kind: "events", data: [change(1, 1, "imaginary", "starting"), change(1, 1, "imaginary", "starting")] }, 0);
  assert.equal(model.events.length, 1);
  const many = Array.from({ length: EVENTS_MAX + 10 }, (_, i) => change(i + 2, i, "paused", "running"));
  model.apply({ kind: "events", data: many }, 0);
  assert.equal(model.events.length, EVENTS_MAX);
  assert.equal(model.changes.get("web")?.length, CHANGES_MAX);
});

test("a flow is shown for a while", () => {
  const model = shop();
  model.apply({ kind: "traffic", data: { at: 0, flows: [[2, 3, 100]] } }, 0);
  model.apply({ kind: "traffic", data: { at: 1, flows: [[-1, 2, 7]] } }, 0);
  assert.equal(model.flows.size, 2);
  model.apply({ kind: "traffic", data: { at: FLOW_MS + 1, flows: [] } }, 0);
  assert.deepEqual([...model.flows.values()], [{ from: -1, to: 2, bytes: 7, at: 1 }]);
});

test("a time line is what changed within it, and begins with what was before", () => {
  const changes = [
    { at: 50, from: "imaginary" as const, to: "starting" as const },
    { at: 120, from: "starting" as const, to: "running" as const },
    { at: 150, from: "running" as const, to: "paused" as const },
  ];
  assert.deepEqual(spansOf(changes, "paused", 100, 200), [
    { from: 100, to: 120, state: "starting" },
    { from: 120, to: 150, state: "running" },
    { from: 150, to: 200, state: "paused" },
  ]);
  assert.deepEqual(spansOf(changes, "paused", 160, 200), [{ from: 160, to: 200, state: "paused" }]);
  assert.deepEqual(spansOf(changes, "paused", 130, 140), [{ from: 130, to: 140, state: "running" }]);
  assert.deepEqual(spansOf([], "running", 0, 10), [{ from: 0, to: 10, state: "running" }]);
});

test("the breath is the numbers of now with the events undone", () => {
  const events = [
    change(1, 5, "imaginary", "starting"), change(2, 20, "imaginary", "starting", "db"),
    change(3, 25, "starting", "running", "db"), change(4, 30, "running", "paused"),
    change(5, 40, "paused", "imaginary"),
  ];
  assert.deepEqual(breathOf(events, { running: 1, paused: 0, imaginary: 1 }, 10, 50), [
    { at: 10, running: 1, paused: 0 },
    { at: 20, running: 2, paused: 0 },
    { at: 25, running: 2, paused: 0 },
    { at: 30, running: 1, paused: 1 },
    { at: 40, running: 1, paused: 0 },
    { at: 50, running: 1, paused: 0 },
  ]);
});

test("hosts are found by name, address, group and state", () => {
  const model = shop();
  model.apply({ kind: "hosts", data: [row(2, "web", { state: "paused" }), row(4, "zk-1", { group: "ensemble" })] }, 0);
  assert.deepEqual(filtered(model, { text: " WEB ", state: "all" }), [2]);
  assert.deepEqual(filtered(model, { text: "ensem", state: "all" }), [4]);
  assert.deepEqual(filtered(model, { text: "0.3", state: "all" }), [3]);
  assert.deepEqual(filtered(model, { text: "", state: "up" }), [2]);
  assert.deepEqual(filtered(model, { text: "", state: "imaginary" }), [3, 4]);
});

test("host time is run, paused, or not there at all", () => {
  const state_s = { running: 5, starting: 1, restoring: 0, releasing: 1, paused: 10, checkpointed: 3, imaginary: 80 };
  const totals = { at: 0, configured_s: 100, state_s, counts: state_s, held: 0, failed_starts: 0 };
  assert.deepEqual(useOf(totals), { configured: 100, ran: 7, paused: 10, absent: 83 });
});
