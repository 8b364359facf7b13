// Canvases: sharp on any screen, in the colours of the style sheet.
import { useEffect, useRef, useState } from "preact/hooks";
import type { RefObject } from "preact";
import type { State } from "./model.ts";

export interface Palette {
  state: Record<State, string>;
  background: string;
  ink: string;
  muted: string;
  line: string;
  accent: string;
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  return {
    state: {
      imaginary: colour("--imaginary"),
      starting: colour("--starting"),
      running: colour("--running"),
      paused: colour("--paused"),
      releasing: colour("--releasing"),
      checkpointed: colour("--disk"),
      restoring: colour("--disk"),
    },
    background: colour("--surface"),
    ink: colour("--ink"),
    muted: colour("--muted"),
    line: colour("--line"),
    accent: colour("--accent"),
  };
}

// Again when the machine turns from light to dark.
export function usePalette(): Palette {
  const [palette, setPalette] = useState(readPalette);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const onChange = () => setPalette(readPalette());
    query.addEventListener("change", onChange);
    return () => query.removeEventListener("change", onChange);
  }, []);
  return palette;
}

export interface Size {
  width: number;
  height: number;
}

export function useSize(element: RefObject<HTMLElement | null>): Size {
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  useEffect(() => {
    const observed = element.current;
    if (!observed) return;
    const observer = new ResizeObserver(() =>
      setSize({ width: observed.clientWidth, height: observed.clientHeight }));
    observer.observe(observed);
    return () => observer.disconnect();
  }, []);
  return size;
}

// Cleared, in CSS pixels.
export function contextOf(canvas: HTMLCanvasElement, { width, height }: Size): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// Draws whenever the component is rendered; some time after, so news may come in
// between: `draw` uses what was read while rendering.
export function useCanvas(
  size: Size, draw: (context: CanvasRenderingContext2D) => void,
): RefObject<HTMLCanvasElement | null> {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (canvas.current && size.width > 0 && size.height > 0) draw(contextOf(canvas.current, size));
  });
  return canvas;
}
