import { useRef } from "preact/hooks";
import { type Palette, useCanvas, useSize } from "./canvas.ts";
import { clock, duration, percent } from "./format.ts";
import { type Model, breathOf, useOf } from "./model.ts";

const seconds = (s: number) => duration(Math.max(0, s) * 1000 || 0).replace(/^0 µs$/, "0 s");

// Host-seconds: what the cluster would have run, and what it did.
export function Savings({ model }: { model: Model }) {
  const totals = model.totals;
  if (!totals) return <p class="quiet">…</p>;
  const use = useOf(totals);
  const share = (part: number) => (use.configured > 0 ? part / use.configured : 0);
  const width = (part: number) => ({ width: `${share(part) * 100}%` });
  return (
    <div class="savings">
      <p class="figure">
        <strong>{percent(share(use.absent))}</strong> of host time was not run
      </p>
      <div class="bar" aria-hidden="true">
        <span class="ran" style={width(use.ran)} />
        <span class="rested" style={width(use.paused)} />
      </div>
      <dl class="facts">
        <div><dt>configured</dt><dd>{seconds(use.configured)}</dd></div>
        <div class="ran"><dt>run</dt><dd>{seconds(use.ran)}</dd></div>
        <div class="rested"><dt>paused</dt><dd>{seconds(use.paused)}</dd></div>
        <div><dt>not there</dt><dd>{seconds(use.absent)}</dd></div>
      </dl>
      <p class="quiet small">Host-seconds of all hosts, since imd started.</p>
    </div>
  );
}

// How many hosts were up: the application breathes.
export function Breath({ model, now, windowMs, palette }: {
  model: Model; now: number; windowMs: number; palette: Palette;
}) {
  const box = useRef<HTMLDivElement>(null);
  const size = useSize(box);
  const counts = model.totals?.counts ?? {};
  const begin = now - windowMs;
  const steps = breathOf(model.events, counts, begin, now);
  const most = Math.max(1, ...steps.map((step) => step.running + step.paused));
  const canvas = useCanvas(size, (context) => {
    const base = size.height - 16;
    const x = (at: number) => Math.max(0, ((at - begin) / windowMs) * size.width);
    const y = (value: number) => base - (value / most) * (base - 14);
    const area = (colour: string, upper: (i: number) => number, lower: (i: number) => number) => {
      context.fillStyle = colour;
      // Each step holds until the next one.
      for (let i = 0; i + 1 < steps.length; ++i) {
        const [left, right] = [x(steps[i]!.at), x(steps[i + 1]!.at)];
        const top = y(upper(i));
        if (right > left) context.fillRect(left, top, right - left + 0.3, y(lower(i)) - top);
      }
    };
    area(palette.state.running, (i) => steps[i]!.running, () => 0);
    context.globalAlpha = 0.5;
    area(palette.state.paused, (i) => steps[i]!.running + steps[i]!.paused, (i) => steps[i]!.running);
    context.globalAlpha = 1;
    context.fillStyle = palette.line;
    context.fillRect(0, base, size.width, 1);
    context.fillStyle = palette.muted;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "alphabetic";
    context.fillText(clock(begin), 0, size.height - 2);
    context.textAlign = "right";
    context.fillText("now", size.width, size.height - 2);
    context.textAlign = "left";
    context.fillText(`${most} up`, 0, 10);
  });
  const last = steps[steps.length - 1]!;
  return (
    <div class="breath" ref={box}>
      <canvas ref={canvas} role="img"
        aria-label={`Hosts up over the last ${duration(windowMs)}: now ${last.running} running and ` +
          `${last.paused} paused, at most ${most} at a time`} />
    </div>
  );
}
