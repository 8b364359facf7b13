// A shape for each state, on a square of 16: the same in the map (canvas), in
// lists (SVG) and in legends. Told apart by their form, not by colour alone.
import type { State } from "./model.ts";

export interface Glyph {
  fill?: string;
  stroke?: string;
  dash?: number[];
  // What is cut out of `fill`, in the colour of the background.
  cut?: string;
}

const circle = (r: number) => `M${8 - r} 8a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
const disk = "M2.5 4.2c0 -1.2 2.4 -2.2 5.5 -2.2s5.5 1 5.5 2.2v7.6c0 1.2 -2.4 2.2 -5.5 2.2s-5.5 -1 -5.5 -2.2Z";
const rim = "M2.5 4.4c0 1.2 2.4 2.2 5.5 2.2s5.5 -1 5.5 -2.2";

export const GLYPHS: Record<State, Glyph> = {
  imaginary: { stroke: circle(6), dash: [2.2, 1.57] },
  starting: { stroke: circle(6), fill: "M2 8a6 6 0 0 0 12 0Z" },
  running: { fill: circle(6.8) },
  paused: { fill: circle(6.8), cut: "M5.2 4.8h2v6.4h-2Z M8.8 4.8h2v6.4h-2Z" },
  releasing: { stroke: circle(6), fill: circle(2.4) },
  checkpointed: { stroke: `${disk} ${rim}` },
  restoring: { stroke: `${disk} ${rim}`, fill: "M2.5 9h11v2.8c0 1.2 -2.4 2.2 -5.5 2.2s-5.5 -1 -5.5 -2.2Z" },
};

// What a state means, for legends and titles.
export const MEANING: Record<State, string> = {
  imaginary: "a name and an address; the next packet starts it",
  starting: "on its way; packets are held",
  running: "its program runs",
  paused: "frozen in memory; the next packet thaws it",
  releasing: "about to end",
  checkpointed: "its processes are on disk",
  restoring: "coming back from disk; packets are held",
};

const paths = new Map<string, Path2D>();
function path(text: string): Path2D {
  let known = paths.get(text);
  if (!known) paths.set(text, (known = new Path2D(text)));
  return known;
}

export function drawGlyph(
  context: CanvasRenderingContext2D, state: State, x: number, y: number, size: number,
  colour: string, background: string,
): void {
  const glyph = GLYPHS[state];
  context.save();
  context.translate(x - size / 2, y - size / 2);
  context.scale(size / 16, size / 16);
  context.fillStyle = colour;
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  if (glyph.fill) context.fill(path(glyph.fill));
  if (glyph.cut) {
    context.fillStyle = background;
    context.fill(path(glyph.cut));
  }
  if (glyph.stroke) {
    context.setLineDash(glyph.dash ?? []);
    context.stroke(path(glyph.stroke));
  }
  context.restore();
}
