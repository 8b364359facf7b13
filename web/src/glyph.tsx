import { GLYPHS, MEANING } from "./glyphs.ts";
import { STATES, type State } from "./model.ts";
import { count } from "./format.ts";

// A state's shape. Beside its name, so that it needs none of its own.
export function StateGlyph({ state, size = 16 }: { state: State; size?: number }) {
  const glyph = GLYPHS[state];
  return (
    <svg class={`glyph state-${state}`} viewBox="0 0 16 16" width={size} height={size} aria-hidden="true">
      {glyph.fill && <path class="fill" d={glyph.fill} />}
      {glyph.cut && <path class="cut" d={glyph.cut} />}
      {glyph.stroke && <path class="stroke" d={glyph.stroke} stroke-dasharray={glyph.dash?.join(" ")} />}
    </svg>
  );
}

export type Choice = State | "up" | "all";

// How many hosts are in which state; a press shows those alone.
export function StateChips({ counts, chosen, onChoose }: {
  counts: Partial<Record<State, number>>; chosen: Choice; onChoose: (choice: Choice) => void;
}) {
  const total = STATES.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  // Rare states take no room while nobody is in them.
  const shown = STATES.filter((state) =>
    (counts[state] ?? 0) > 0 || ["running", "paused", "imaginary"].includes(state));
  const chip = (choice: Choice, label: string, number: number, title: string, state?: State) => (
    <button type="button" class="chip" aria-pressed={chosen === choice} title={title}
      onClick={() => onChoose(chosen === choice ? "all" : choice)}>
      {state && <StateGlyph state={state} />}
      <span>{label}</span>
      <span class="number">{count(number)}</span>
    </button>
  );
  return (
    <div class="chips" role="group" aria-label="Show hosts by state">
      {chip("all", "all", total, "all hosts")}
      {shown.map((state) => chip(state, state, counts[state] ?? 0, MEANING[state], state))}
    </div>
  );
}
