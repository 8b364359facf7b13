// Model: what the page knows of the cluster. Messages of the stream go in
// (orchestrator/dashboard/dashboard_feed.h says which there are); views look at
// its fields after a change. No DOM and no clock of its own, so that it can be
// tested.

export type State =
  | "imaginary" | "starting" | "running" | "paused" | "releasing" | "checkpointed" | "restoring";

// The liveliest first: the order in which they are shown.
export const STATES: readonly State[] = [
  "running", "starting", "restoring", "paused", "releasing", "checkpointed", "imaginary",
];

// An instance lives, or is on its way.
export const isUp = (state: State) => state !== "imaginary" && state !== "checkpointed";

export interface HostRow {
  id: number;
  name: string;
  address: string;
  state: State;
  since: number;
  guest?: boolean;
  group?: string;
  cause?: string;
  kind?: string;
  wake_ms?: number;
  error?: string;
  held?: number;
  at?: number; // of the figures
  memory?: number;
  cpu_ns?: number;
  in?: number;
  out?: number;
}

// A second's worth of what grew between the last two looks.
export interface Rates {
  in: number;
  out: number;
  cpu: number; // cores
  at: number;
}

export interface Host extends HostRow {
  rates?: Rates;
}

export interface ClusterEvent {
  sequence: number;
  at: number;
  host?: string;
  from?: State;
  to?: State;
  text?: string;
  ms?: number;
  error?: boolean;
}

export interface Cluster {
  name: string;
  network: string;
  domain: string;
  version: string;
  hosts: number;
  at: number;
}

export interface Totals {
  at: number;
  configured_s: number;
  state_s: Record<State, number>;
  counts: Record<State, number>;
  held: number;
  failed_starts: number;
}

export interface Flow {
  from: number; // a host's id; OUTSIDE: clients of published ports
  to: number;
  bytes: number;
  at: number;
}

export interface Change {
  at: number;
  from: State;
  to: State;
}

export type Connection = "connecting" | "live" | "lost";

export type Message =
  | { kind: "hello"; data: Cluster }
  | { kind: "hosts"; data: (HostRow | { id: number; gone: true })[] }
  | { kind: "ready"; data: unknown }
  | { kind: "events"; data: ClusterEvent[] }
  | { kind: "totals"; data: Totals }
  | { kind: "traffic"; data: { at: number; flows: [number, number, number][] } };

export const MESSAGE_KINDS: readonly Message["kind"][] =
  ["hello", "hosts", "ready", "events", "totals", "traffic"];

export const OUTSIDE = -1;
export const EVENTS_MAX = 2000;
export const CHANGES_MAX = 400; // of one host
export const FLOW_MS = 4000; // how long one is shown
// Agents tell figures every 2 s while they move: older ones are at rest.
export const RATES_MS = 4500;

export class Model {
  connection: Connection = "connecting";
  cluster: Cluster | null = null;
  ready = false;
  hosts = new Map<number, Host>();
  events: ClusterEvent[] = []; // the oldest first
  totals: Totals | null = null;
  flows = new Map<string, Flow>();
  changes = new Map<string, Change[]>(); // by the host's name, the oldest first
  // Server's time less ours, in milliseconds.
  clockOffset = 0;
  // Counts what changes the set or the order of hosts, and all changes.
  hostsVersion = 0;
  version = 0;

  private ids: number[] | null = null;

  // Hosts' ids in the order of cluster.yaml.
  order(): number[] {
    return (this.ids ??= [...this.hosts.keys()].sort((a, b) => a - b));
  }

  apply(message: Message, clock: number): void {
    ++this.version;
    switch (message.kind) {
      case "hello": return this.hello(message.data, clock);
      case "hosts": return this.rows(message.data);
      case "ready": this.ready = true; return;
      case "events": return message.data.forEach((event) => this.event(event));
      case "totals":
        this.totals = message.data;
        this.clockOffset = message.data.at - clock;
        return;
      case "traffic": return this.traffic(message.data);
    }
  }

  find(name: string): Host | undefined {
    for (const host of this.hosts.values()) if (host.name === name) return host;
    return undefined;
  }

  private hello(cluster: Cluster, clock: number): void {
    this.cluster = cluster;
    this.clockOffset = cluster.at - clock;
    this.ready = false;
    this.hosts.clear();
    this.flows.clear();
    this.changes.clear();
    this.events = [];
    this.totals = null;
    this.ids = null;
    ++this.hostsVersion;
  }

  private rows(rows: (HostRow | { id: number; gone: true })[]): void {
    for (const row of rows) {
      const before = this.hosts.get(row.id);
      if ("gone" in row) {
        if (this.hosts.delete(row.id)) this.reorder();
        continue;
      }
      // Another guest may have taken the number of one that left.
      if (before === undefined || before.name !== row.name) this.reorder();
      const host: Host = row;
      const rates = ratesOf(before, row);
      if (rates) host.rates = rates;
      this.hosts.set(row.id, host);
    }
  }

  private reorder(): void {
    this.ids = null;
    ++this.hostsVersion;
  }

  private event(event: ClusterEvent): void {
    const last = this.events[this.events.length - 1];
    if (last !== undefined && event.sequence <= last.sequence) return;
    this.events.push(event);
    if (this.events.length > EVENTS_MAX) this.events.splice(0, this.events.length - EVENTS_MAX);
    if (!event.host || !event.from || !event.to) return;
    const changes = this.changes.get(event.host) ?? [];
    changes.push({ at: event.at, from: event.from, to: event.to });
    if (changes.length > CHANGES_MAX) changes.splice(0, changes.length - CHANGES_MAX);
    this.changes.set(event.host, changes);
  }

  private traffic({ at, flows }: { at: number; flows: [number, number, number][] }): void {
    for (const [key, flow] of this.flows) if (at - flow.at > FLOW_MS) this.flows.delete(key);
    for (const [from, to, bytes] of flows) {
      this.flows.set(`${from}>${to}`, { from, to, bytes, at });
    }
  }
}

// Of what two looks at the same instance's counters tell.
export function ratesOf(before: Host | undefined, now: HostRow): Rates | undefined {
  if (now.at === undefined || before?.at === undefined) return undefined;
  if (before.name !== now.name) return undefined;
  const seconds = (now.at - before.at) / 1000;
  if (seconds <= 0) return before.rates;
  const grown = (a = 0, b = 0) => (b >= a ? b - a : b) / seconds;
  return {
    in: grown(before.in, now.in),
    out: grown(before.out, now.out),
    cpu: grown(before.cpu_ns, now.cpu_ns) / 1e9,
    at: now.at,
  };
}

// ---- time lines ----

export interface Span {
  from: number;
  to: number;
  state: State;
}

// A host's states from `begin` to `end`, as far as its changes are known.
export function spansOf(changes: readonly Change[], state: State, begin: number, end: number): Span[] {
  const spans: Span[] = [];
  let at = begin;
  for (const change of changes) {
    if (change.at > end) break;
    if (change.at > at) spans.push({ from: at, to: change.at, state: change.from });
    at = Math.max(at, change.at);
  }
  const later = changes.find((change) => change.at > end);
  const last = changes.length > 0 && !later ? changes[changes.length - 1]!.to : undefined;
  spans.push({ from: at, to: end, state: later?.from ?? last ?? state });
  return spans;
}

export interface Breath {
  at: number;
  running: number; // and what is on its way there, or away
  paused: number;
}

// How many hosts were up, from `begin` on: from the numbers of now, each event
// undone one after the other, the newest first. Steps, the oldest first.
export function breathOf(
  events: readonly ClusterEvent[], counts: Partial<Record<State, number>>, begin: number, end: number,
): Breath[] {
  const now = { ...counts };
  const sums = (at: number): Breath => ({
    at,
    running: (now.running ?? 0) + (now.starting ?? 0) + (now.restoring ?? 0) + (now.releasing ?? 0),
    paused: now.paused ?? 0,
  });
  const steps: Breath[] = [sums(end)];
  for (let i = events.length - 1; i >= 0; --i) {
    const event = events[i]!;
    if (event.at < begin) break;
    if (!event.from || !event.to) continue;
    steps.push(sums(Math.min(event.at, end)));
    now[event.to] = Math.max(0, (now[event.to] ?? 0) - 1);
    now[event.from] = (now[event.from] ?? 0) + 1;
  }
  steps.push(sums(begin));
  return steps.reverse();
}

// ---- filters ----

export interface Filter {
  text: string;
  state: State | "up" | "all";
}

export function filtered(model: Model, filter: Filter): number[] {
  const text = filter.text.trim().toLowerCase();
  const all = model.order();
  if (text === "" && filter.state === "all") return all;
  return all.filter((id) => {
    const host = model.hosts.get(id)!;
    if (filter.state === "up" ? !isUp(host.state) : filter.state !== "all" && host.state !== filter.state) {
      return false;
    }
    return text === "" || host.name.toLowerCase().includes(text) || host.address.includes(text) ||
      (host.group ?? "").toLowerCase().includes(text);
  });
}

// Of host-seconds: what was configured, and what became of it.
export interface Use {
  configured: number;
  ran: number;
  paused: number;
  absent: number;
}

export function useOf(totals: Totals): Use {
  const of = (...states: State[]) => states.reduce((sum, state) => sum + (totals.state_s[state] ?? 0), 0);
  return {
    configured: totals.configured_s,
    ran: of("running", "starting", "restoring", "releasing"),
    paused: of("paused"),
    absent: of("imaginary", "checkpointed"),
  };
}
