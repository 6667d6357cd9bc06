/* One answer, finished or streamed. Props: see answer.py. */
import React, { Component, memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import "./answer.css";
import { CopyButton } from "./answer_code.jsx";
import { Markdown } from "./answer_markdown.jsx";
import { Sources, SourcesContext, Tip, placeTip } from "./answer_sources.jsx";
import { CodeStep, Mark, SearchStep, stepText } from "./answer_steps.jsx";
import { START, follow } from "./answer_stream.js";
import { answerText } from "./answer_text.js";

const ENDINGS = {
  stopped: "You stopped this answer.",
  interrupted: "This answer was interrupted; what had arrived is kept.",
};
const CONNECTIONS = {
  waiting: "reconnecting…",
  gone: "The connection to this answer is closed. Reload the page to see it.",
};

export const Answer = memo(function Answer(props) {
  const { src = "", messageId = "", apiUrl = "" } = props;
  const stream = useStream(src, messageId, props.onDone);
  const view = viewOf(props, stream);
  const live = view.status === "streaming";
  const connection = live && src ? stream.connection : "open";
  const announced = useRef(false);
  announced.current ||= live;
  const [shown, setShown] = useState(null);
  const element = useRef(null);
  const tip = useCallback((source, chip) => setShown(source && placeTip(source, chip, element.current)), []);
  const context = useMemo(
    () => ({ sources: new Map(view.sources.map((source) => [source.number, source])), tip }), [view.sources, tip],
  );
  return (
    <article className="answer" ref={element} data-status={view.status}
      onKeyDown={shown ? (event) => event.key === "Escape" && setShown(null) : undefined}>
      <SourcesContext.Provider value={context}>
        {view.parts.map((part, at) => (
          <Guard key={at} text={part.text}>
            <Part part={part} live={live && at === view.parts.length - 1} announce={announced.current}
              apiUrl={apiUrl} />
          </Guard>
        ))}
      </SourcesContext.Provider>
      {live && <Progress parts={view.parts} connection={connection} />}
      {announced.current && <p className="answer-hidden" role="status">{announcement(view, connection)}</p>}
      <Ending view={view} />
      {!live && <Sources sources={view.sources} />}
      {!live && <Footer view={view} />}
      <Tip shown={shown} />
    </article>
  );
}, sameProps);

/* The stream's view once it has begun; before, and when finished, what the page gave. When the stream is done and the
   page has not loaded the saved message yet, the streamed one stays. */
function viewOf(props, stream) {
  const given = { ...START, status: "done", ...without(props) };
  const streamed = stream.view && stream.messageId === (props.messageId ?? "");
  if (props.src) return streamed && stream.src === props.src ? stream.view : { ...given, status: "streaming" };
  return streamed && !given.parts.length ? stream.view : given;
}

function without({ parts, sources, status, error, price, priceNote }) {
  const given = { parts, sources, status, error, price, price_note: priceNote };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== null));
}

/* {src, messageId, view, connection}; the view is renewed at most once per frame. */
function useStream(src, messageId, onDone) {
  const [state, setState] = useState({ src: "", messageId: "", view: null, connection: "open" });
  const done = useRef(onDone);
  useEffect(() => { done.current = onDone; });
  useEffect(() => {
    if (!src) return undefined;
    let next = { src, messageId, view: null, connection: "open" };
    let frame = 0;
    const show = () => { frame = 0; setState(next); };
    const change = (part) => {
      next = { ...next, ...part };
      frame ||= requestAnimationFrame(show);
    };
    const stop = follow(src, {
      view: (view) => change({ view, connection: "open" }),
      connection: (connection) => connection !== next.connection && change({ connection }),
      done: (view) => {
        // A page in the background gets no frames, but the end must not wait for one.
        cancelAnimationFrame(frame);
        next = { ...next, view };
        show();
        done.current?.(messageId, view.status);
      },
    });
    return () => { cancelAnimationFrame(frame); stop(); };
  }, [src, messageId]);
  return state;
}

function Part({ part, live, announce, apiUrl }) {
  if (part.type === "text") return <Markdown text={part.text} live={live} announce={announce} />;
  if (part.type === "search") return <SearchStep part={part} />;
  return part.type === "code" ? <CodeStep part={part} apiUrl={apiUrl} /> : null;
}

/* What cannot be shown (a thousand nested quotes, a chart that its library refuses) costs its own part only. */
class Guard extends Component {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  render() {
    if (!this.state.failed) return this.props.children;
    const { text } = this.props;
    return text ? <p className="answer-plain">{text}</p> : <p className="answer-error">This step cannot be shown.</p>;
  }
}

/* Shown while there is nothing else that moves: before the first part, between steps, and on a lost connection. */
function Progress({ parts, connection }) {
  if (connection !== "open") return <p className="answer-note">{CONNECTIONS[connection]}</p>;
  const last = parts.at(-1);
  if (last?.type === "text" || last?.status === "running") return null;
  return <p className="answer-step answer-step-line"><Mark /> Thinking…</p>;
}

/* What a screen reader is told beyond the text: steps, the connection, and the end. */
function announcement({ parts, status }, connection) {
  if (connection !== "open") return CONNECTIONS[connection];
  if (status === "failed") return "This answer failed.";
  if (status !== "streaming") return ENDINGS[status] ?? "Answer complete.";
  const last = parts.at(-1);
  if (!last) return "Thinking…";
  return last.type === "text" ? "" : stepText(last);
}

function Ending({ view }) {
  if (view.status === "failed") return <p className="answer-error">{view.error || "This answer failed."}</p>;
  return ENDINGS[view.status] ? <p className="answer-note">{ENDINGS[view.status]}</p> : null;
}

function Footer({ view }) {
  const copyable = view.parts.some((part) => part.type === "text" && part.text.trim());
  const cost = [view.price, view.price_note].filter(Boolean).join(" · ");
  if (!cost && !copyable) return null;
  return (
    <footer className="answer-foot">
      {cost && <span>{cost}</span>}
      {copyable && <CopyButton text={() => answerText(view.parts, view.sources)} what="answer" />}
    </footer>
  );
}

/* State arrives from the server as new objects that are mostly equal to the old ones. A finished answer has no use for
   its handler, so that a new one is no reason to render it again. */
function sameProps(before, after) {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  if (!after.src) keys.delete("onDone");
  return [...keys].every((key) => equal(before[key], after[key]));
}

function equal(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => equal(a[key], b[key]));
}
