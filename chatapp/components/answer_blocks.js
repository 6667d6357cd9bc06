/* Markdown into tokens, and a growing text into finished blocks and a tail.

   Only marked's lexer is used, never its HTML output. Raw HTML is no token at all: it stays text. */
import { Lexer, Marked } from "marked";
import { citationAt, formulaAt, formulaStart } from "./answer_text.js";

const citation = {
  name: "citation",
  level: "inline",
  start: (src) => src.match(/\[\d/)?.index,
  tokenizer: (src) => {
    const found = citationAt(src);
    return found ? { type: "citation", raw: found.raw, numbers: found.numbers } : undefined;
  },
};

const formula = {
  name: "formula",
  level: "inline",
  start: (src) => {
    const at = formulaStart(src);
    return at < 0 ? undefined : at;
  },
  tokenizer: (src) => {
    const found = formulaAt(src);
    return found ? { type: "formula", ...found } : undefined;
  },
};

/* A formula on lines of its own; it interrupts a paragraph, so that `_` and `\\` in it are never markdown. */
const formulaBlock = {
  name: "formulaBlock",
  level: "block",
  start: (src) => src.match(/\n {0,3}(?:\$\$|\\\[)/)?.index,
  tokenizer: (src) => {
    const indent = /^ {0,3}(?=\$\$|\\\[)/.exec(src)?.[0];
    const found = indent === undefined ? null : formulaAt(src.slice(indent.length));
    if (!found?.display) return undefined;
    const after = /^[ \t]*(?:\n|$)/.exec(src.slice(indent.length + found.raw.length));
    return after ? { type: "formulaBlock", raw: indent + found.raw + after[0], tex: found.tex } : undefined;
  },
};

/* `<br>` is the one tag models need, in table cells: it becomes a line break of ours. */
const lineBreak = {
  name: "lineBreak",
  level: "inline",
  start: (src) => src.match(/<br/i)?.index,
  tokenizer: (src) => {
    const match = /^<br ?\/?>/i.exec(src);
    return match ? { type: "br", raw: match[0] } : undefined;
  },
};

/* Emphasis takes time in the square of a paragraph's length. No one writes paragraphs of this many characters; beyond,
   asterisks stay asterisks. (To marked, false means its own rule, undefined means no match.) */
const LONG = 3_000;
const emStrong = (_, paragraph) => (paragraph.length > LONG ? undefined : false);

const OPTIONS = new Marked({
  gfm: true,
  extensions: [formulaBlock, formula, citation, lineBreak],
  tokenizer: { html: () => undefined, tag: () => undefined, emStrong },
}).defaults;

/* The tokens of one block of markdown. `links` are the reference definitions of the whole text. */
export function tokensOf(text, links) {
  const lexer = new Lexer(OPTIONS);
  if (links) Object.assign(lexer.tokens.links, links);
  return lexer.lex(text);
}

export const NOTHING = Object.freeze({ head: "", seen: 0, blocks: Object.freeze([]), links: null });

/* Move on from the state of a shorter text to that of `text`: only what follows the finished blocks is lexed.

   State: `head`, the finished text; `blocks`, its blocks (equal strings from call to call, so that they can be
   memoized); `seen`, how far whole lines were looked at; `links`, reference definitions so far or null.
   A block is finished when a further one has begun on a whole line: until then "1. a\n\n2" may be a paragraph or the
   next item of the list. */
export function advance(state, text) {
  const known = text.startsWith(state.head) && text.length >= state.seen ? state : NOTHING;
  const lines = text.lastIndexOf("\n") + 1;
  if (lines <= known.seen) return known;
  const lexer = new Lexer(OPTIONS);
  const tokens = lexer.blockTokens(text.slice(known.head.length, lines), []);
  const last = tokens.findLastIndex((token) => token.type !== "space");
  let at = known.head.length;
  const blocks = [];
  let gap = "";
  for (const token of tokens.slice(0, Math.max(last, 0))) {
    at += token.raw.length;
    if (token.type === "space") gap += token.raw;
    else {
      blocks.push(gap + token.raw);
      gap = "";
    }
  }
  at -= gap.length;
  const links = Object.keys(lexer.tokens.links).length ? { ...known.links, ...lexer.tokens.links } : null;
  const same = !links || (known.links && Object.keys(links).every((name) => known.links[name]));
  return {
    head: text.slice(0, at),
    seen: lines,
    blocks: blocks.length ? [...known.blocks, ...blocks] : known.blocks,
    links: same ? known.links : links,
  };
}
