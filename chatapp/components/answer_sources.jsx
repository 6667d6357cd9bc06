/* Citations in the text, and the list of sources below it. */
import React, { Fragment, createContext, memo, useContext, useState } from "react";
import { hostOf, safeUrl } from "./answer_text.js";

/* {sources: Map of number to source, tip(source, element) shows its title, or hides it for null}. Citations read it
   from here, so that sources which arrive late turn old citations into links without lexing any block again. */
export const SourcesContext = createContext({ sources: new Map(), tip: () => {} });

const LINK = { target: "_blank", rel: "noopener noreferrer nofollow" };
const FEW = 4;

/* `[1, 3]` as one chip per number whose source is known; as it was written if none is. */
export function Citation({ numbers, raw }) {
  const { sources, tip } = useContext(SourcesContext);
  if (!numbers.some((number) => sources.has(number))) return raw;
  return numbers.map((number, at) => {
    const source = sources.get(number);
    if (!source) return <Fragment key={at}>[{number}]</Fragment>;
    const href = safeUrl(source.url);
    const show = (event) => tip(source, event.currentTarget);
    const hide = () => tip(null);
    const name = `Source ${number}: ${source.title || hostOf(source.url)}`;
    const props = {
      className: "answer-cite", "aria-label": name, onMouseEnter: show, onMouseLeave: hide, onFocus: show, onBlur: hide,
    };
    return href
      ? <a key={at} href={href} {...LINK} {...props}>{number}</a>
      : <span key={at} role="note" tabIndex={0} {...props}>{number}</span>;
  });
}

/* A cited source's title beside its chip. The chip's accessible name holds the same words, so this is for eyes only. */
export function Tip({ shown }) {
  if (!shown) return null;
  const { source, left, top } = shown;
  return (
    <div className="answer-tip" style={{ left, top }} aria-hidden="true">
      <b>{source.title}</b> <span>{hostOf(source.url)}</span>
    </div>
  );
}

/* Where the title of a chip goes: below it, and never beyond the edges of the answer, at most 288 px wide. */
export function placeTip(source, chip, answer) {
  const a = answer.getBoundingClientRect();
  const c = chip.getBoundingClientRect();
  const width = Math.min(288, a.width);
  const left = Math.max(0, Math.min(c.left - a.left - width / 2, a.width - width));
  return { source, left, top: c.bottom - a.top + 4 };
}

export const Sources = memo(function Sources({ sources }) {
  const [all, setAll] = useState(false);
  if (!sources.length) return null;
  const shown = all || sources.length <= FEW + 1 ? sources : sources.slice(0, FEW);
  return (
    <section className="answer-sources" aria-label="Sources">
      <div className="answer-label">Sources</div>
      <ol>{shown.map((source) => <Source key={source.number} source={source} />)}</ol>
      {shown.length < sources.length && (
        <button type="button" className="answer-button" onClick={() => setAll(true)}>
          Show all {sources.length} sources
        </button>
      )}
    </section>
  );
});

function Source({ source }) {
  const href = safeUrl(source.url);
  const title = source.title || source.url;
  return (
    <li>
      <span className="answer-number" aria-hidden="true">{source.number}</span>
      <span className="answer-source">
        {href ? <a href={href} {...LINK}>{title}</a> : <span>{title}</span>} <small>{hostOf(source.url)}</small>
      </span>
      {source.snippet && (
        <details>
          <summary aria-label={`Excerpt of source ${source.number}`}>Excerpt</summary>
          <p>{source.snippet}</p>
        </details>
      )}
    </li>
  );
}
