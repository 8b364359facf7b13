import { clock, duration } from "./format.ts";
import { StateGlyph } from "./glyph.tsx";
import type { ClusterEvent, Model } from "./model.ts";

const SHOWN = 80;

export function EventLine({ event, withHost = true }: { event: ClusterEvent; withHost?: boolean }) {
  return (
    <li class={event.error ? "error" : ""}>
      <time dateTime={new Date(event.at).toISOString()}>{clock(event.at)}</time>
      <span>
        {withHost && event.host && <b>{event.host} </b>}
        {event.to && <><StateGlyph state={event.to} size={12} /> {event.to} </>}
        {event.text && <small>{event.text}</small>}
        {event.ms !== undefined && <small>{event.text ? ", " : ""}in {duration(event.ms)}</small>}
      </span>
    </li>
  );
}

export function EventList({ model }: { model: Model }) {
  const newest = model.events.slice(-SHOWN).reverse();
  return (
    <section class="card" aria-labelledby="events-title">
      <h2 id="events-title">Events</h2>
      {newest.length === 0 && <p class="quiet">Nothing has happened yet. The first packet to a host starts it.</p>}
      {/* It scrolls, so it can be reached by Tab. */}
      <ol class="events" tabIndex={0} aria-label="Events, the newest first">
        {newest.map((event) => <EventLine key={event.sequence} event={event} />)}
      </ol>
    </section>
  );
}
