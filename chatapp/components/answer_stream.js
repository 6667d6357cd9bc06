/* An answer as it arrives: events folded into a view, and a connection that outlives failures. */

export const START = Object.freeze({
  parts: Object.freeze([]), sources: Object.freeze([]), status: "streaming", error: "", price: "", price_note: "",
});

/* The view after `event`: a bare string is more text, and the bulk of all events; an object says in `t` what it is.
   Unchanged for a kind that this version does not know. */
export function reduce(view, event) {
  if (typeof event === "string") return { ...view, parts: withText(view.parts, event) };
  switch (event.t) {
    case "part":
      return { ...view, parts: withPart(view.parts, event.p) };
    case "sources":
      return { ...view, sources: event.s };
    case "done":
      return {
        ...view, status: event.status, error: event.error ?? "", price: event.price ?? "",
        price_note: event.price_note ?? "",
      };
    default:
      return view;
  }
}

function withText(parts, delta) {
  const last = parts.at(-1);
  if (last?.type !== "text") return [...parts, { type: "text", text: delta }];
  return [...parts.slice(0, -1), { ...last, text: last.text + delta }];
}

function withPart(parts, part) {
  const at = part.id === undefined ? -1 : parts.findIndex(({ id }) => id === part.id);
  return at < 0 ? [...parts, part] : parts.with(at, part);
}

/* The stream's address from event `last` on; `last` below 0 means from its beginning. */
export function resumeUrl(src, last, base) {
  const url = new URL(src, base);
  if (last >= 0) url.searchParams.set("after", String(last));
  return url.href;
}

/* Milliseconds before attempt number `failures`: at once, then 1, 2, 4 … 30 seconds, each up to a quarter longer, so
   that a thousand tabs do not come back in the same instant. */
export function backoff(failures, random = Math.random) {
  return failures === 0 ? 0 : Math.min(1000 * 2 ** (failures - 1), 30_000) * (1 + random() / 4);
}

/* Follow the stream at `src` until it is done, gone, or the returned function is called.

   listener.view(view): after every event, with the whole view so far.
   listener.done(view): after the event "done", once.
   listener.connection(state): "open"; "waiting" while the connection is being remade; "gone" if it never will be.

   EventSource reconnects by itself after a lost connection, and gives up (CLOSED) after an answer other than 200,
   without telling which: then a plain request asks for the status. */
export function follow(src, listener) {
  let view = START;
  let last = -1;
  let failures = 0;
  let source = null;
  let timer = 0;
  const asking = new AbortController();

  const stop = () => {
    source?.close();
    clearTimeout(timer);
    asking.abort();
    globalThis.removeEventListener("online", hurry);
  };
  const receive = (message) => {
    const id = message.lastEventId === "" ? NaN : Number(message.lastEventId);
    if (id <= last) return;
    if (id > last) last = id;
    failures = 0;
    const event = JSON.parse(message.data);
    view = reduce(view, event);
    listener.view(view);
    if (event.t !== "done") return;
    stop();
    listener.done(view);
  };
  const open = () => {
    source = new EventSource(resumeUrl(src, last, location.href), { withCredentials: true });
    source.onopen = () => listener.connection("open");
    source.onmessage = receive;
    source.onerror = () => {
      listener.connection("waiting");
      if (source.readyState === EventSource.CLOSED) retry();
    };
  };
  const retry = () => {
    timer = setTimeout(ask, backoff(failures++));
  };
  const hurry = () => {
    if (source?.readyState !== EventSource.CLOSED) return;
    clearTimeout(timer);
    ask();
  };
  const ask = async () => {
    const answer = await verdict(resumeUrl(src, last, location.href), asking.signal);
    if (asking.signal.aborted) return;
    if (answer === "open") open();
    else if (answer === "wait") retry();
    else {
      stop();
      listener.connection("gone");
    }
  };

  globalThis.addEventListener("online", hurry);
  open();
  return stop;
}

/* What a request to the stream says: "open" it again, "wait" (no network, 5xx, 429), or it is "gone". */
async function verdict(url, signal) {
  const only = new AbortController();
  signal.addEventListener("abort", () => only.abort(), { once: true });
  let response;
  try {
    response = await fetch(url, {
      credentials: "include", cache: "no-store", headers: { Accept: "text/event-stream" }, signal: only.signal,
    });
  } catch {
    return "wait"; // fetch rejects when there is no network; the caller tries again
  }
  only.abort(); // the status is all that was asked: EventSource reads the body
  if (response.status >= 500 || response.status === 429) return "wait";
  const stream = response.headers.get("content-type")?.startsWith("text/event-stream");
  return response.status === 200 && stream ? "open" : "gone";
}
