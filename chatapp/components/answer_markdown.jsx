/* Markdown as React elements. Nothing here sets HTML from the model's text: what has no token stays text. */
import React, { Fragment, memo, useRef } from "react";
import { NOTHING, advance, tokensOf } from "./answer_blocks.js";
import { CodeBlock } from "./answer_code.jsx";
import { Citation } from "./answer_sources.jsx";
import { Formula } from "./answer_lazy.jsx";
import { decodeEntities, heal, safeUrl } from "./answer_text.js";

/* A text part. While `live`, finished blocks stand in a region that a screen reader announces, each once, and the
   growing tail in one that it leaves alone. */
export function Markdown({ text, live, announce }) {
  const state = useRef(NOTHING);
  const source = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
  state.current = advance(state.current, source);
  const { head, blocks, links } = state.current;
  const tail = source.slice(head.length);
  const block = (piece, at) => <Block key={at} text={piece} links={links} />;
  return (
    <div className="answer-text">
      <div aria-live={announce ? "polite" : undefined} aria-relevant={announce ? "additions" : undefined}>
        {blocks.map(block)}
        {!live && tail.trim() && block(tail, blocks.length)}
      </div>
      {live && (
        <div className="answer-tail" aria-live="off">
          <Block text={heal(tail)} links={links} live />
        </div>
      )}
    </div>
  );
}

const Block = memo(function Block({ text, links, live = false }) {
  return <Blocks tokens={tokensOf(text, links)} live={live} />;
});

function Blocks({ tokens, live }) {
  return tokens.map((token, at) => <BlockToken key={at} token={token} live={live} />);
}

function BlockToken({ token, live }) {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading": {
      // The page has its own h1 and h2.
      const Heading = `h${Math.min(token.depth + 2, 6)}`;
      return <Heading className={`answer-h${Math.min(token.depth, 4)}`}>{inline(token.tokens)}</Heading>;
    }
    case "code":
      return <CodeBlock code={token.text} language={token.lang} live={live} />;
    case "blockquote":
      return <blockquote><Blocks tokens={token.tokens} live={live} /></blockquote>;
    case "list":
      return <List token={token} live={live} />;
    case "table":
      return <Table token={token} />;
    case "hr":
      return <hr />;
    case "formulaBlock":
      return <Formula tex={token.tex} display />;
    case "text": // the content of a tight list's item
      return inline(token.tokens ?? [token]);
    case "paragraph":
      return <p>{inline(token.tokens)}</p>;
    default:
      return inline([token]);
  }
}

function List({ token, live }) {
  const items = token.items.map((item, at) => (
    <li key={at} className={item.task ? "answer-task" : undefined}>
      <Blocks tokens={item.tokens} live={live} />
    </li>
  ));
  if (!token.ordered) return <ul>{items}</ul>;
  return <ol start={token.start === 1 ? undefined : token.start}>{items}</ol>;
}

function Table({ token }) {
  const cells = (row, Cell) => row.map((cell, at) => (
    <Cell key={at} scope={Cell === "th" ? "col" : undefined} style={cell.align ? { textAlign: cell.align } : undefined}>
      {inline(cell.tokens)}
    </Cell>
  ));
  return (
    <div className="answer-scroll" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead><tr>{cells(token.header, "th")}</tr></thead>
        <tbody>{token.rows.map((row, at) => <tr key={at}>{cells(row, "td")}</tr>)}</tbody>
      </table>
    </div>
  );
}

/* `linked`: within a link's text, where no further link may stand. */
function inline(tokens, linked = false) {
  return tokens.map((token, at) => <Fragment key={at}>{inlineToken(token, linked)}</Fragment>);
}

function inlineToken(token, linked) {
  switch (token.type) {
    case "strong":
      return <strong>{inline(token.tokens, linked)}</strong>;
    case "em":
      return <em>{inline(token.tokens, linked)}</em>;
    case "del":
      return <del>{inline(token.tokens, linked)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "checkbox":
      return <input type="checkbox" checked={token.checked} disabled aria-label={token.checked ? "done" : "to do"} />;
    case "formula":
      return <Formula tex={token.tex} display={token.display} />;
    case "citation":
      return linked ? token.raw : <Citation numbers={token.numbers} raw={token.raw} />;
    case "link":
      return link(token.href, inline(token.tokens, true), linked);
    case "image": // not loaded: its address would tell a stranger who reads this answer, and when
      return link(token.href, `Image: ${decodeEntities(token.text) || token.href}`, linked);
    case "text":
      return token.tokens ? inline(token.tokens, linked) : decodeEntities(token.text);
    default: // escape, and whatever a later lexer may add: its text, never its HTML
      return token.text ?? token.raw;
  }
}

function link(href, children, linked) {
  const safe = linked ? null : safeUrl(href);
  if (!safe) return children;
  return <a href={safe} target="_blank" rel="noopener noreferrer nofollow">{children}</a>;
}
