// Where hosts are on the map: always the same place for the same number of
// hosts and the same size, in the order of cluster.yaml.
import { OUTSIDE } from "./model.ts";

export interface Place {
  x: number;
  y: number;
}

export interface Layout {
  kind: "ring" | "grid" | "dense";
  size: number; // of a host's shape
  labels: boolean;
  cell: Place; // of a grid: its width and height
  columns: number;
  origin: Place; // of a grid: its corner
  places: Place[];
  outside: Place;
}

export const RING_MAX = 14;
const OUTSIDE_WIDTH = 76;
const LABEL_CELL: Place = { x: 84, y: 64 }; // room for a shape with its name

export function layoutOf(count: number, width: number, height: number): Layout {
  const outside = { x: OUTSIDE_WIDTH / 2 + 4, y: height / 2 };
  if (count <= RING_MAX) return ring(count, width, height, outside);
  const left = OUTSIDE_WIDTH;
  const room = { x: Math.max(1, width - left - 8), y: Math.max(1, height - 16) };
  const labelColumns = Math.max(1, Math.floor(room.x / LABEL_CELL.x));
  const labels = Math.ceil(count / labelColumns) * LABEL_CELL.y <= room.y;
  const columns = labels ? spread(count, labelColumns, room) : columnsOf(count, room);
  const rows = Math.ceil(count / columns);
  const cell = { x: room.x / columns, y: room.y / rows };
  const least = Math.min(cell.x, cell.y);
  const origin = { x: left, y: 8 };
  const places = Array.from({ length: count }, (_, i) => ({
    x: origin.x + ((i % columns) + 0.5) * cell.x,
    y: origin.y + (Math.floor(i / columns) + (labels ? 0.4 : 0.5)) * cell.y,
  }));
  const size = labels ? 26 : Math.max(2, Math.min(22, least * 0.74));
  return { kind: least < 12 ? "dense" : "grid", size, labels, cell, columns, origin, places, outside };
}

// So many columns that the rows have the height that they need, and no more.
function spread(count: number, most: number, room: Place): number {
  const rows = Math.max(1, Math.floor(room.y / (LABEL_CELL.y * 1.4)));
  return Math.max(1, Math.min(most, Math.ceil(count / rows)));
}

// Cells that are as square as can be.
function columnsOf(count: number, room: Place): number {
  return Math.max(1, Math.min(count, Math.round(Math.sqrt((count * room.x) / room.y))));
}

function ring(count: number, width: number, height: number, outside: Place): Layout {
  const centre = { x: (width + OUTSIDE_WIDTH) / 2, y: height / 2 - 8 };
  const radius = { x: Math.max(0, (width - OUTSIDE_WIDTH) / 2 - 70), y: Math.max(0, height / 2 - 62) };
  const places = Array.from({ length: count }, (_, i) => {
    if (count === 1) return centre;
    // From the left on, clockwise: from where packets of outside come.
    const angle = Math.PI + (i / count) * 2 * Math.PI;
    return { x: centre.x + radius.x * Math.cos(angle), y: centre.y + radius.y * Math.sin(angle) };
  });
  return {
    kind: "ring", size: 36, labels: true, cell: { x: 0, y: 0 }, columns: 0, origin: { x: 0, y: 0 },
    places, outside,
  };
}

// The index of the host at a point; -1: none.
export function hit(layout: Layout, x: number, y: number): number {
  if (layout.kind !== "ring") {
    const column = Math.floor((x - layout.origin.x) / layout.cell.x);
    const row = Math.floor((y - layout.origin.y) / layout.cell.y);
    if (column < 0 || column >= layout.columns || row < 0) return -1;
    const index = row * layout.columns + column;
    return index < layout.places.length ? index : -1;
  }
  const reach = layout.size * 0.8;
  return layout.places.findIndex((place) => Math.hypot(place.x - x, place.y - y) <= reach);
}

// The end of a flow: a host's place, by its index, or the outside.
export const placeOf = (layout: Layout, index: number): Place | undefined =>
  index === OUTSIDE ? layout.outside : layout.places[index];
