// What the page asks imd for: the stream, why a host is up, and to act.
import { MESSAGE_KINDS, type Message } from "./model.ts";
import type { ClusterEvent, State } from "./model.ts";

export interface Why {
  name: string;
  address: string;
  address6?: string;
  state: State;
  since: number;
  starts: number;
  thaws: number;
  cause: string;
  kind: string;
  wake_ms: number;
  memory: number;
  cpu_ns: number;
  pause_in_ms: number;
  release_in_ms: number;
  timer_in_ms: number;
  retry_in_ms: number;
  error: string;
  guest: boolean;
  keeps_up: string[];
  events: ClusterEvent[];
}

export type Verb = "wake" | "suspend" | "release";

// ---- the token ----

const STORED = "im-token";

// Out of the address, where it does not stay: it would be in the history, and in
// what is copied. The tab keeps it.
export function takeToken(): string | null {
  const given = /[#&]token=([0-9a-f]+)/i.exec(location.hash)?.[1];
  if (given) {
    sessionStorage.setItem(STORED, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(STORED);
}

const headers = (token: string | null): HeadersInit => (token ? { Authorization: `Bearer ${token}` } : {});

export async function mayAct(token: string | null): Promise<boolean> {
  if (!token) return false;
  return (await fetch("/api/permission", { headers: headers(token) })).ok;
}

async function answer<T>(response: Response): Promise<T> {
  const json: unknown = await response.json().catch(() => null);
  if (response.ok) return json as T;
  throw new Error((json as { error?: string } | null)?.error ?? `imd answered ${response.status}`);
}

const hostPath = (host: string, what: string) => `/api/hosts/${encodeURIComponent(host)}/${what}`;

export const why = async (host: string): Promise<Why> => answer<Why>(await fetch(hostPath(host, "why")));

export async function act(host: string, verb: Verb, token: string | null): Promise<void> {
  await answer(await fetch(hostPath(host, verb), { method: "POST", headers: headers(token) }));
}

// ---- the stream ----

const RETRY_MS = 3000;
const HIDDEN_MS = 20_000;

// Reads as long as the page is looked at: browsers have few connections to a
// server, and a tab in the background needs none.
export function follow(
  onMessage: (message: Message) => void, onConnection: (state: "live" | "lost") => void,
): () => void {
  let source: EventSource | null = null;
  let retry: number | undefined;
  let hidden: number | undefined;

  const close = () => {
    clearTimeout(retry);
    source?.close();
    source = null;
  };
  const open = () => {
    close();
    const opened = (source = new EventSource("/api/stream"));
    for (const kind of MESSAGE_KINDS) {
      opened.addEventListener(kind, (event) => {
        if (kind === "hello") onConnection("live");
        onMessage({ kind, data: JSON.parse((event as MessageEvent<string>).data) } as Message);
      });
    }
    opened.onerror = () => {
      onConnection("lost");
      // It tries again by itself, unless it was refused.
      if (opened.readyState === EventSource.CLOSED) retry = window.setTimeout(open, RETRY_MS);
    };
  };
  const onVisibility = () => {
    clearTimeout(hidden);
    if (document.hidden) hidden = window.setTimeout(close, HIDDEN_MS);
    else if (source === null) open();
  };
  document.addEventListener("visibilitychange", onVisibility);
  open();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    clearTimeout(hidden);
    close();
  };
}
