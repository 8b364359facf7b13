// All hosts, a row each. Only the rows in sight exist, however many hosts there
// are. One row can be reached by Tab; arrows, Page Up and Down, Home and End move
// from row to row, Enter or Space opens one.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Palette, useSize } from "./canvas.ts";
import { ago, bytes, rate } from "./format.ts";
import { StateGlyph } from "./glyph.tsx";
import { type Host, type Model, RATES_MS, isUp } from "./model.ts";
import { TimeLine } from "./time_line.tsx";

const ROW = 38; // pixels, as in dashboard.css
const SPARE = 4; // rows beyond those in sight

interface Props {
  model: Model;
  ids: number[];
  now: number;
  windowMs: number;
  windowName: string;
  selected: string | null;
  palette: Palette;
  onSelect: (name: string) => void;
}

function figures(host: Host, now: number): [string, string, string, string] {
  if (!isUp(host.state) || host.memory === undefined) return ["", "", "", ""];
  const rates = host.rates && now - host.rates.at < RATES_MS ? host.rates : { in: 0, out: 0, cpu: 0 };
  const resting = host.state !== "running";
  return [
    resting ? "" : `${Math.round(rates.cpu * 100)} %`,
    bytes(host.memory),
    resting ? "" : rate(rates.in),
    resting ? "" : rate(rates.out),
  ];
}

export function HostList({ model, ids, now, windowMs, windowName, selected, palette, onSelect }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const lane = useRef<HTMLSpanElement>(null);
  const size = useSize(box);
  const laneWidth = useSize(lane).width;
  const [top, setTop] = useState(0);
  const [active, setActive] = useState(0);
  const focus = useRef(false);
  const current = Math.min(active, ids.length - 1);

  // Before the next key comes.
  useLayoutEffect(() => {
    if (!focus.current) return;
    focus.current = false;
    box.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus({ preventScroll: true });
  });

  const moveTo = (index: number) => {
    const next = Math.max(0, Math.min(ids.length - 1, index));
    setActive(next);
    focus.current = true;
    const scroller = box.current!;
    const height = scroller.clientHeight;
    if (next * ROW < scroller.scrollTop) scroller.scrollTop = next * ROW;
    else if ((next + 1) * ROW > scroller.scrollTop + height) scroller.scrollTop = (next + 1) * ROW - height;
  };
  const page = Math.max(1, Math.floor(size.height / ROW) - 1);
  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, number> = {
      ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page,
      Home: 0, End: ids.length - 1,
    };
    const host = model.hosts.get(ids[current] ?? NaN);
    if (event.key in moves) moveTo(moves[event.key]!);
    else if ((event.key === "Enter" || event.key === " ") && host) onSelect(host.name);
    else return;
    event.preventDefault();
  };

  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const last = Math.min(ids.length, Math.ceil((top + size.height) / ROW) + SPARE);
  const shown = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
  // Also out of sight: it has the focus.
  if (current >= 0 && (current < first || current >= last)) shown.push(current);

  const row = (index: number) => {
    const host = model.hosts.get(ids[index]!);
    if (!host) return null;
    const [cpu, memory, received, sent] = figures(host, now);
    return (
      <div key={ids[index]} role="row" class="row" aria-rowindex={index + 2} aria-selected={host.name === selected}
        tabIndex={index === current ? 0 : -1} style={{ transform: `translateY(${index * ROW}px)` }}
        onClick={() => { setActive(index); onSelect(host.name); }}>
        <span role="gridcell" class="name" title={host.group ? `group ${host.group}` : host.address}>
          <StateGlyph state={host.state} />
          <b>{host.name}</b>
          {host.guest && <i>guest</i>}
        </span>
        <span role="gridcell" class="state">
          {host.state} <small>{ago(now - host.since)}</small>
        </span>
        <span role="gridcell" class="lane">
          <TimeLine changes={model.changes.get(host.name) ?? []} state={host.state} now={now}
            windowMs={windowMs} size={{ width: laneWidth, height: 20 }} palette={palette} />
        </span>
        <span role="gridcell" class="figure">{cpu}</span>
        <span role="gridcell" class="figure">{memory}</span>
        <span role="gridcell" class="figure">{received}</span>
        <span role="gridcell" class="figure">{sent}</span>
      </div>
    );
  };

  return (
    <div class="hosts" role="grid" aria-label="Hosts" aria-rowcount={ids.length + 1}>
      <div role="rowgroup">
        <div role="row" class="row head" aria-rowindex={1}>
          <span role="columnheader">host</span>
          <span role="columnheader">state</span>
          <span role="columnheader" class="lane" ref={lane}>last {windowName}</span>
          <span role="columnheader" class="figure">CPU</span>
          <span role="columnheader" class="figure">memory</span>
          <span role="columnheader" class="figure">in</span>
          <span role="columnheader" class="figure">out</span>
        </div>
      </div>
      <div role="rowgroup" class="scroller" ref={box} onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        onKeyDown={onKeyDown}>
        {ids.length === 0 && <div role="row" class="none"><span role="gridcell">No host is like that.</span></div>}
        <div role="presentation" class="rows" style={{ height: `${ids.length * ROW}px` }}>{shown.map(row)}</div>
      </div>
    </div>
  );
}
