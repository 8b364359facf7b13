// The page of `im dashboard`: the hosts of a cluster as they come and go.
import { render } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { usePalette } from "./canvas.ts";
import { Detail } from "./detail.tsx";
import { EventList } from "./event_list.tsx";
import { count } from "./format.ts";
import { type Choice, StateChips } from "./glyph.tsx";
import { HostList } from "./host_list.tsx";
import { HostMap } from "./host_map.tsx";
import { Model, filtered } from "./model.ts";
import { follow, mayAct, takeToken } from "./server.ts";
import { Breath, Savings } from "./summary.tsx";

// Views are drawn so often at most, however fast news come.
const DRAW_MS = 200;
const TICK_MS = 1000;

const WINDOWS: readonly [string, number][] = [
  ["1 min", 60_000], ["5 min", 300_000], ["30 min", 1_800_000], ["2 h", 7_200_000],
];

// A model that is rendered again after it has changed, and every second.
function useModel(): [Model, number] {
  const model = useMemo(() => new Model(), []);
  const [version, setVersion] = useState(0);
  useEffect(() => {
    let due = false;
    const draw = () => {
      due = false;
      setVersion((before) => before + 1);
    };
    const soon = () => {
      if (due) return;
      due = true;
      setTimeout(draw, DRAW_MS);
    };
    const end = follow(
      (message) => { model.apply(message, Date.now()); soon(); },
      (state) => { model.connection = state; soon(); },
    );
    const tick = setInterval(soon, TICK_MS);
    return () => {
      end();
      clearInterval(tick);
    };
  }, []);
  return [model, version];
}

function usePermission(): [string | null, boolean] {
  const [token, setToken] = useState(takeToken);
  const [permitted, setPermitted] = useState(false);
  useEffect(() => {
    const onHash = () => setToken(takeToken());
    addEventListener("hashchange", onHash);
    return () => removeEventListener("hashchange", onHash);
  }, []);
  useEffect(() => void mayAct(token).then(setPermitted, () => setPermitted(false)), [token]);
  return [token, permitted];
}

const CONNECTION = { connecting: "connecting …", live: "live", lost: "imd does not answer; trying again" };

function Dashboard() {
  const [model, version] = useModel();
  const [token, permitted] = usePermission();
  const palette = usePalette();
  const [selected, setSelected] = useState<string | null>(null);
  const [text, setText] = useState("");
  const [choice, setChoice] = useState<Choice>("all");
  const [windowMs, setWindowMs] = useState(300_000);
  const [said, setSaid] = useState("");
  const opener = useRef<HTMLElement | null>(null);
  const now = useCallback(() => Date.now() + model.clockOffset, []);

  const filter = { text, state: choice };
  const ids = useMemo(() => filtered(model, filter), [version, text, choice]);
  const all = ids.length === model.hosts.size;
  const matches = useMemo(() => (all ? null : new Set(ids)), [ids, all]);
  const windowName = WINDOWS.find(([, ms]) => ms === windowMs)![0];
  const time = now();

  useEffect(() => {
    if (model.cluster) document.title = `${model.cluster.name} · Imaginary Machines`;
  }, [model.cluster]);
  useEffect(() => {
    if (model.connection === "lost") setSaid(CONNECTION.lost);
    else if (model.connection === "live") setSaid("");
  }, [model.connection]);

  const select = (name: string) => {
    opener.current = document.activeElement as HTMLElement | null;
    setSelected(name);
  };
  const close = () => {
    setSelected(null);
    if (opener.current?.isConnected) opener.current.focus();
  };

  const cluster = model.cluster;
  return (
    <>
      <a class="skip" href="#hosts">To the list of hosts</a>
      <header class="top">
        <div>
          <h1>{cluster?.name ?? "Imaginary Machines"}</h1>
          {cluster && <p>{count(model.hosts.size)} hosts in {cluster.network} · {cluster.domain}</p>}
        </div>
        <div class="badges">
          <span class={`badge ${model.connection}`}><i aria-hidden="true" />{CONNECTION[model.connection]}</span>
          <span class="badge" title={permitted ? "this page has the token" : "open the address that im dashboard prints to act"}>
            {permitted ? "may act" : "read-only"}
          </span>
        </div>
      </header>
      <p class="unseen" role="status">{said}</p>
      <main class={selected ? "with-detail" : ""}>
        <section class="card summary" aria-labelledby="summary-title">
          <h2 id="summary-title">Host time</h2>
          <Savings model={model} />
        </section>
        <section class="card" aria-labelledby="breath-title">
          <div class="title">
            <h2 id="breath-title">Hosts up</h2>
            <label>over the last{" "}
              <select value={String(windowMs)} onChange={(event) => setWindowMs(Number(event.currentTarget.value))}>
                {WINDOWS.map(([name, ms]) => <option key={ms} value={String(ms)}>{name}</option>)}
              </select>
            </label>
          </div>
          <Breath model={model} now={time} windowMs={windowMs} palette={palette} />
          <p class="legend small"><i class="ran" aria-hidden="true" /> run <i class="rested" aria-hidden="true" /> paused</p>
        </section>
        <section class="card wide" aria-labelledby="map-title">
          <div class="title">
            <h2 id="map-title">Map</h2>
            <StateChips counts={model.totals?.counts ?? {}} chosen={choice} onChoose={setChoice} />
          </div>
          <HostMap model={model} version={version} now={now} selected={selected} matches={matches}
            palette={palette} onSelect={select} />
        </section>
        <section class="card wide" id="hosts" aria-labelledby="hosts-title">
          <div class="title">
            <h2 id="hosts-title">Hosts</h2>
            <label>find{" "}
              <input type="search" value={text} placeholder="name, address, group" spellcheck={false}
                onInput={(event) => setText(event.currentTarget.value)} />
            </label>
            {!all && <span class="quiet small">{count(ids.length)} of {count(model.hosts.size)}</span>}
          </div>
          <HostList model={model} ids={ids} now={time} windowMs={windowMs} windowName={windowName}
            selected={selected} palette={palette} onSelect={select} />
        </section>
        <div class="side">
          {selected && <Detail model={model} name={selected} now={time} token={token} permitted={permitted}
            announce={setSaid} onClose={close} />}
          <EventList model={model} />
        </div>
      </main>
    </>
  );
}

render(<Dashboard />, document.getElementById("page")!);
