import { duration } from "./format.ts";
import { type Palette, type Size, useCanvas } from "./canvas.ts";
import { type Change, type Span, type State, spansOf } from "./model.ts";

// How much of the height a state fills: the livelier the fuller.
const FILL: Record<State, number> = {
  running: 1, starting: 0.7, restoring: 0.7, releasing: 0.7, paused: 0.45, checkpointed: 0.25, imaginary: 0,
};

function drawSpan(context: CanvasRenderingContext2D, span: Span, state: State, x: number, width: number,
                  { height }: Size, palette: Palette): void {
  const full = height - 2;
  const tall = Math.max(1, full * FILL[state]);
  const y = 1 + full - tall;
  context.fillStyle = palette.state[state];
  if (state === "imaginary") {
    context.globalAlpha = 0.55;
    context.fillRect(x, y, width, 1);
  } else if (state === "releasing" || state === "starting" || state === "restoring") {
    // On its way: stripes, so that it is told apart without its colour.
    context.globalAlpha = 0.45;
    context.fillRect(x, y, Math.max(1, width), tall);
    context.globalAlpha = 1;
    for (let at = x; at < x + width; at += 4) context.fillRect(at, y, Math.min(2, x + width - at), tall);
  } else {
    // Something that was there shows, however short.
    context.fillRect(x, y, Math.max(span.to > span.from ? 1.5 : 1, width), tall);
  }
  context.globalAlpha = 1;
}

// A host's states over the last while, to the right until now.
export function TimeLine({ changes, state, now, windowMs, size, palette }: {
  changes: readonly Change[]; state: State; now: number; windowMs: number; size: Size; palette: Palette;
}) {
  const begin = now - windowMs;
  const canvas = useCanvas(size, (context) => {
    const spans = spansOf(changes, state, begin, now);
    const scale = size.width / windowMs;
    const draw = (span: Span) =>
      drawSpan(context, span, span.state, (span.from - begin) * scale, (span.to - span.from) * scale, size, palette);
    // What is short is drawn last, or it would be painted over.
    for (const span of spans) if (span.state === "imaginary") draw(span);
    for (const span of spans) if (span.state !== "imaginary") draw(span);
  });
  const recent = changes.filter((change) => change.at >= begin).length;
  return (
    <canvas ref={canvas} class="time-line" role="img" style={{ width: `${size.width}px`, height: `${size.height}px` }}
      aria-label={`${recent === 0 ? "no change" : recent === 1 ? "1 change" : `${recent} changes`} in the last ${duration(windowMs)}`} />
  );
}
