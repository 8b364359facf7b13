// The map: a shape for each host, and an arrow for whatever goes between two.
// Hosts are drawn when something changed, arrows as long as there are any.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Palette, type Size, contextOf, useCanvas, useSize } from "./canvas.ts";
import { bytes, count } from "./format.ts";
import { drawGlyph } from "./glyphs.ts";
import { type Layout, hit, layoutOf, placeOf } from "./layout.ts";
import { FLOW_MS, type Flow, type Model, OUTSIDE, STATES, type State } from "./model.ts";

interface Props {
  model: Model;
  version: number; // of the model
  now: () => number; // in the server's time
  selected: string | null;
  matches: ReadonlySet<number> | null; // null: all
  palette: Palette;
  onSelect: (name: string) => void;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function drawDense(context: CanvasRenderingContext2D, layout: Layout, states: State[], dim: boolean[],
                   palette: Palette): void {
  const size = layout.size;
  for (const state of [...STATES].reverse()) {
    context.fillStyle = palette.state[state];
    for (let i = 0; i < states.length; ++i) {
      if (states[i] !== state) continue;
      const { x, y } = layout.places[i]!;
      context.globalAlpha = dim[i] ? 0.12 : state === "imaginary" ? 0.5 : 1;
      // By form: a dot, half, or the whole of the cell.
      const side = state === "imaginary" ? Math.max(1, size * 0.34)
        : state === "paused" || state === "checkpointed" ? size * 0.68 : size;
      context.fillRect(x - side / 2, y - side / 2, side, side);
    }
  }
  context.globalAlpha = 1;
}

function drawOutside(context: CanvasRenderingContext2D, layout: Layout, palette: Palette): void {
  const { x, y } = layout.outside;
  context.strokeStyle = palette.muted;
  context.lineWidth = 1.5;
  context.strokeRect(x - 13, y - 9, 26, 18);
  context.beginPath();
  context.moveTo(x - 13, y - 4);
  context.lineTo(x + 13, y - 4);
  context.stroke();
  context.fillStyle = palette.muted;
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText("outside", x, y + 25);
}

function cut(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (context.measureText(text).width <= width) return text;
  let end = text.length - 1;
  while (end > 1 && context.measureText(text.slice(0, end) + "…").width > width) --end;
  return text.slice(0, end) + "…";
}

// A curve between two shapes, and a point on it.
interface Curve {
  from: { x: number; y: number };
  bend: { x: number; y: number };
  to: { x: number; y: number };
}

function curveOf(layout: Layout, fromIndex: number, toIndex: number): Curve | null {
  const a = placeOf(layout, fromIndex);
  const b = placeOf(layout, toIndex);
  if (!a || !b) return null;
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = Math.hypot(dx, dy);
  if (length < 1) return null;
  // Both directions bend to their own right, so they lie side by side.
  const lean = Math.min(44, length * 0.16);
  const bend = { x: (a.x + b.x) / 2 - (dy / length) * lean, y: (a.y + b.y) / 2 + (dx / length) * lean };
  const short = (from: { x: number; y: number }, towards: { x: number; y: number }, by: number) => {
    const l = Math.hypot(towards.x - from.x, towards.y - from.y) || 1;
    return { x: from.x + ((towards.x - from.x) / l) * by, y: from.y + ((towards.y - from.y) / l) * by };
  };
  const gap = (index: number) => (index === OUTSIDE ? 20 : layout.size / 2 + 3);
  return { from: short(a, bend, gap(fromIndex)), bend, to: short(b, bend, gap(toIndex) + 2) };
}

const pointAt = ({ from, bend, to }: Curve, t: number) => ({
  x: (1 - t) * (1 - t) * from.x + 2 * (1 - t) * t * bend.x + t * t * to.x,
  y: (1 - t) * (1 - t) * from.y + 2 * (1 - t) * t * bend.y + t * t * to.y,
});

function drawFlow(context: CanvasRenderingContext2D, curve: Curve, flow: Flow, age: number, phase: number,
                  dense: boolean, palette: Palette): void {
  // From a few hundred bytes to a gigabyte: one to six pixels.
  const weight = Math.min(6, 1 + Math.max(0, Math.log10(Math.max(1, flow.bytes)) - 2) * 0.75);
  const width = dense ? Math.min(2, weight * 0.5) : weight;
  context.globalAlpha = Math.max(0, 1 - age / FLOW_MS) * (dense ? 0.8 : 0.9);
  context.strokeStyle = palette.accent;
  context.fillStyle = palette.accent;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(curve.from.x, curve.from.y);
  context.quadraticCurveTo(curve.bend.x, curve.bend.y, curve.to.x, curve.to.y);
  context.stroke();
  const angle = Math.atan2(curve.to.y - curve.bend.y, curve.to.x - curve.bend.x);
  const head = dense ? 4 : 6 + width;
  context.beginPath();
  context.moveTo(curve.to.x + Math.cos(angle) * 2, curve.to.y + Math.sin(angle) * 2);
  context.lineTo(curve.to.x - Math.cos(angle - 0.45) * head, curve.to.y - Math.sin(angle - 0.45) * head);
  context.lineTo(curve.to.x - Math.cos(angle + 0.45) * head, curve.to.y - Math.sin(angle + 0.45) * head);
  context.fill();
  if (dense || calm.matches) return;
  for (const offset of [0, 0.5]) {
    const { x, y } = pointAt(curve, (phase + offset) % 1);
    context.beginPath();
    context.arc(x, y, width / 2 + 1.6, 0, 2 * Math.PI);
    context.fill();
  }
}

export function HostMap({ model, version, now, selected, matches, palette, onSelect }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const size = useSize(box);
  const ids = model.order();
  const layout = useMemo(() => layoutOf(ids.length, size.width, size.height),
    [ids.length, size.width, size.height]);
  const indices = useMemo(() => new Map(ids.map((id, i) => [id, i])), [model.hostsVersion]);
  const [pointed, setPointed] = useState(-1);
  const flows = useRef<HTMLCanvasElement>(null);
  // Read here, as they fit `ids`: it is drawn later, and by then one may have left.
  const hosts = ids.map((id) => model.hosts.get(id)!);

  const base = useCanvas(size, (context) => {
    const dim = ids.map((id) => matches !== null && !matches.has(id));
    context.textAlign = "center";
    drawOutside(context, layout, palette);
    if (layout.kind === "dense") {
      drawDense(context, layout, hosts.map((host) => host.state), dim, palette);
    } else {
      hosts.forEach((host, i) => {
        const { x, y } = layout.places[i]!;
        context.globalAlpha = dim[i] ? 0.18 : 1;
        drawGlyph(context, host.state, x, y, layout.size, palette.state[host.state], palette.background);
        if (!layout.labels) return;
        context.fillStyle = palette.ink;
        context.font = `${host.name === selected ? 600 : 400} 13px system-ui, sans-serif`;
        const room = layout.kind === "ring" ? 140 : layout.cell.x - 8;
        context.fillText(cut(context, host.name, room), x, y + layout.size / 2 + 20);
      });
    }
    context.globalAlpha = 1;
    const chosen = hosts.findIndex((host) => host.name === selected);
    for (const [index, colour] of [[chosen, palette.accent], [pointed, palette.muted]] as const) {
      const place = layout.places[index];
      if (!place) continue;
      context.strokeStyle = colour;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(place.x, place.y, layout.size / 2 + 5, 0, 2 * Math.PI);
      context.stroke();
    }
  });

  useEffect(() => drawFlows(flows, size, layout, model, indices, palette, now),
    [version, size, layout, palette]);

  const at = (event: MouseEvent) => hit(layout, event.offsetX, event.offsetY);
  const hovered = hosts[pointed];
  const place = layout.places[pointed];
  const counts = STATES.map((state) => [state, model.totals?.counts[state] ?? 0] as const)
    .filter(([, number]) => number > 0).map(([state, number]) => `${count(number)} ${state}`);
  return (
    <div class="map" ref={box}>
      <canvas ref={base} role="img" aria-label={`Map of the hosts: ${counts.join(", ")}. The list has the same.`} />
      <canvas ref={flows} aria-hidden="true" class={hovered ? "pointing" : ""}
        onMouseMove={(event) => setPointed(at(event))} onMouseLeave={() => setPointed(-1)}
        onClick={(event) => {
          const host = hosts[at(event)];
          if (host) onSelect(host.name);
        }} />
      {hovered && place && (
        <div class="tip" aria-hidden="true"
          style={{ left: `${Math.min(Math.max(place.x, 90), size.width - 90)}px`,
                   top: `${place.y > 70 ? place.y - layout.size / 2 - 10 : place.y + layout.size / 2 + 56}px` }}>
          <strong>{hovered.name}</strong> {hovered.state}
          {hovered.cause && <><br />{hovered.cause}</>}
        </div>
      )}
    </div>
  );
}

// Draws until no arrow is left; returns what ends it.
function drawFlows(canvas: { current: HTMLCanvasElement | null }, size: Size, layout: Layout, model: Model,
                   indices: ReadonlyMap<number, number>, palette: Palette, now: () => number): () => void {
  let frame = 0;
  const indexOf = (id: number) => (id === OUTSIDE ? OUTSIDE : (indices.get(id) ?? NaN));
  const draw = () => {
    if (!canvas.current || size.width === 0) return;
    const context = contextOf(canvas.current, size);
    const time = now();
    let any = false;
    for (const flow of model.flows.values()) {
      const age = Math.max(0, time - flow.at);
      if (age > FLOW_MS) continue;
      const curve = curveOf(layout, indexOf(flow.from), indexOf(flow.to));
      if (!curve) continue;
      any = true;
      drawFlow(context, curve, flow, age, (time / 1400) % 1, layout.kind === "dense", palette);
    }
    // What went since the look before, in figures.
    if (layout.kind === "ring") labelFlows(context, layout, model, indexOf, palette, time);
    if (any) frame = requestAnimationFrame(draw);
  };
  draw();
  return () => cancelAnimationFrame(frame);
}

function labelFlows(context: CanvasRenderingContext2D, layout: Layout, model: Model,
                    indexOf: (id: number) => number, palette: Palette, time: number): void {
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  for (const flow of model.flows.values()) {
    const age = time - flow.at;
    const curve = age > FLOW_MS ? null : curveOf(layout, indexOf(flow.from), indexOf(flow.to));
    if (!curve) continue;
    const { x, y } = pointAt(curve, 0.5);
    const text = bytes(flow.bytes);
    const width = context.measureText(text).width + 8;
    context.clearRect(x - width / 2, y - 8, width, 15);
    context.globalAlpha = Math.max(0, 1 - age / FLOW_MS);
    context.fillStyle = palette.ink;
    context.fillText(text, x, y + 3);
  }
  context.globalAlpha = 1;
}
