// One host: why it is as it is, and what can be done about it.
import { Fragment } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { EventLine } from "./event_list.tsx";
import { ago, bytes, duration } from "./format.ts";
import { StateGlyph } from "./glyph.tsx";
import { MEANING } from "./glyphs.ts";
import { type Host, type Model, isUp } from "./model.ts";
import { type Verb, type Why, act, why } from "./server.ts";

const ASK_AGAIN_MS = 2000;

const DID: Record<Verb, string> = { wake: "asked to wake", suspend: "asked to pause", release: "asked to be released" };

function useWhy(host: Host | undefined): Why | null {
  const [known, setKnown] = useState<Why | null>(null);
  const name = host?.name;
  useEffect(() => {
    if (!name) return;
    let gone = false;
    let timer: number | undefined;
    const ask = () => {
      const again = () => { if (!gone) timer = window.setTimeout(ask, ASK_AGAIN_MS); };
      why(name).then((told) => { if (!gone) setKnown(told); }).catch(() => {}).then(again);
    };
    ask();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [name, host?.state, host?.since]);
  return known?.name === name ? known : null;
}

export function Detail({ model, name, now, token, permitted, announce, onClose }: {
  model: Model; name: string; now: number; token: string | null; permitted: boolean;
  announce: (text: string) => void; onClose: () => void;
}) {
  const host = model.find(name);
  const told = useWhy(host);
  const [trouble, setTrouble] = useState("");
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    setTrouble("");
    heading.current?.focus();
  }, [name]);
  // What one looks at is worth a word when it changes.
  const state = host?.state;
  const before = useRef<[string, string | undefined]>([name, state]);
  useEffect(() => {
    if (before.current[0] === name && before.current[1] !== state && state) announce(`${name} is ${state}`);
    before.current = [name, state];
  }, [name, state]);

  const press = (verb: Verb) => {
    setTrouble("");
    announce(`${name} was ${DID[verb]}`);
    act(name, verb, token).catch((error: Error) => {
      setTrouble(error.message);
      announce(error.message);
    });
  };
  const button = (verb: Verb, label: string, possible: boolean) => (
    <button type="button" class="act" disabled={!permitted || !possible} onClick={() => press(verb)}>{label}</button>
  );
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") onClose();
  };
  return (
    <section class="card detail" aria-labelledby="detail-name" onKeyDown={onKeyDown}>
      <header>
        <h2 id="detail-name" tabIndex={-1} ref={heading}>{name}</h2>
        <button type="button" class="close" aria-label={`Close ${name}`} onClick={onClose}>✕</button>
      </header>
      {!host ? <p>It has left.</p> : (
        <>
          <p class="now">
            <StateGlyph state={host.state} size={20} />
            <span><strong>{host.state}</strong> for {ago(now - host.since)}<br />
              <small>{MEANING[host.state]}</small></span>
          </p>
          <div class="acts">
            {button("wake", "Wake", host.state !== "running" && !host.guest)}
            {button("suspend", "Pause", host.state === "running")}
            {button("release", "Release", (isUp(host.state) && host.state !== "releasing") || host.state === "checkpointed")}
          </div>
          {!permitted && <p class="quiet small">To act, open the address that <code>im dashboard</code> prints.</p>}
          {trouble && <p class="trouble">{trouble}</p>}
          <WhyFacts host={host} told={told} />
        </>
      )}
    </section>
  );
}

function WhyFacts({ host, told }: { host: Host; told: Why | null }) {
  const next = told === null ? []
    : [["pauses", told.pause_in_ms], ["thawed for a timer", told.timer_in_ms],
       ["released", told.release_in_ms], ["started again", told.retry_in_ms]] as const;
  const kind = host.kind === "cold" ? "started cold" : host.kind === "thaw" ? "thawed" : "restored";
  return (
    <>
      <h3>Why</h3>
      <dl class="why">
        <dt>last wake</dt>
        <dd>{host.cause ?? "none yet"}{host.kind && <><br /><small>{kind} in {duration(host.wake_ms ?? 0)}</small></>}</dd>
        {isUp(host.state) && <>
          <dt>kept up by</dt>
          <dd>{told === null ? "…" : told.keeps_up.length === 0 ? "nothing"
            : told.keeps_up.map((reason) => <span key={reason} class="reason">{reason}</span>)}</dd>
        </>}
        {next.filter(([, ms]) => ms > 0).map(([what, ms]) =>
          <Fragment key={what}><dt>next</dt><dd>{what} in {ago(ms)}</dd></Fragment>)}
        {host.error && <><dt>last error</dt><dd class="trouble">{host.error}</dd></>}
        {host.held ? <><dt>held</dt><dd>{host.held} packets wait for it</dd></> : null}
        <dt>address</dt><dd>{host.address}{told?.address6 && <><br />{told.address6}</>}</dd>
        {host.group && <><dt>group</dt><dd>{host.group}</dd></>}
        {told && <>
          <dt>so far</dt>
          <dd>{told.starts} {told.starts === 1 ? "start" : "starts"}, {told.thaws} {told.thaws === 1 ? "thaw" : "thaws"}</dd>
          {isUp(host.state) && <><dt>uses</dt><dd>{bytes(told.memory)}, {duration(told.cpu_ns / 1e6)} of CPU</dd></>}
        </>}
      </dl>
      {told && told.events.length > 0 && <>
        <h3>What happened to it</h3>
        <ol class="events">{[...told.events].reverse().map((event) =>
          <EventLine key={event.sequence} event={event} withHost={false} />)}</ol>
      </>}
    </>
  );
}
