/* Pure rules about text that a model wrote: which links are safe, what is a formula, what is a citation. */

const SAFE_PROTOCOLS = new Set(["http:", "https:", "mailto:"]);

/* The normalised address if it may become a link, else null. Relative addresses are refused: model text must not
   point into the app. The URL parser drops the tabs and newlines with which "java\tscript:" hides. */
export function safeUrl(href) {
  let url;
  try {
    url = new URL(decodeEntities(String(href ?? "")).trim());
  } catch {
    return null;
  }
  return SAFE_PROTOCOLS.has(url.protocol) ? url.href : null;
}

export function hostOf(href) {
  const safe = safeUrl(href);
  return safe ? new URL(safe).hostname.replace(/^www\./, "") : "";
}

/* Figures come from our own routes only: one leading slash, and not "//other.host" or a backslash trick. */
export function figureUrl(prefix, path) {
  return /^\/(?![/\\])[\w./?=&%-]*$/.test(path ?? "") ? `${(prefix ?? "").replace(/\/$/, "")}${path}` : null;
}

const ENTITIES = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™", hellip: "…",
  mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", laquo: "«", raquo: "»", bull: "•",
  middot: "·", deg: "°", plusmn: "±", times: "×", divide: "÷", minus: "−", micro: "µ", sect: "§", para: "¶",
  euro: "€", pound: "£", yen: "¥", cent: "¢", larr: "←", rarr: "→", uarr: "↑", darr: "↓", harr: "↔", le: "≤",
  ge: "≥", ne: "≠", asymp: "≈", infin: "∞", sum: "∑", radic: "√", alpha: "α", beta: "β", gamma: "γ", delta: "δ",
  lambda: "λ", mu: "μ", pi: "π", sigma: "σ", omega: "ω", frac12: "½", sup2: "²", sup3: "³", ensp: "\u2002",
  emsp: "\u2003", thinsp: "\u2009", shy: "\u00ad",
};

/* Character references as their characters. An unknown name stays as it was written. */
export function decodeEntities(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|(\w{2,8}));/g, (whole, decimal, hex, name) => {
    if (name) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : whole;
    const point = decimal ? Number(decimal) : parseInt(hex, 16);
    const printable = point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
    return printable ? String.fromCodePoint(point) : "\ufffd";
  });
}

const CITATION = /^\[(\d{1,3}(?:\s?[,–-]\s?\d{1,3})*)\](?!\()/;

/* `[3]`, `[1, 4]` or `[2-4]` at the start of `src`: its text and the numbers, else null. */
export function citationAt(src) {
  const match = CITATION.exec(src);
  if (!match) return null;
  const numbers = [];
  for (const item of match[1].split(",")) {
    const [first, last = first] = item.split(/[–-]/).map(Number);
    if (last < first || last - first > 20) return null;
    for (let number = first; number <= last; number++) numbers.push(number);
  }
  return { raw: match[0], numbers };
}

const FORMULAS = [
  { open: "$$", pattern: /^\$\$((?:\\[\s\S]|[^\\$\n]|\n(?!\s*\n)|\$(?!\$))+)\$\$/, display: true },
  { open: "$", pattern: /^\$(?![\s$])((?:\\.|[^\\$\n]|\n(?!\s*\n))+)\$(?![\dA-Z_$])/, display: false },
  { open: "\\(", pattern: /^\\\(((?:(?!\\\)|\n\s*\n)[\s\S])+)\\\)/, display: false },
  { open: "\\[", pattern: /^\\\[((?:(?!\\\]|\n\s*\n)[\s\S])+)\\\]/, display: true },
];

/* A formula at the start of `src`, as {raw, tex, display}, else null. */
export function formulaAt(src) {
  const kind = FORMULAS.find(({ open }) => src.startsWith(open));
  const match = kind?.pattern.exec(src);
  if (!match || !match[1].trim()) return null;
  if (kind.open === "$" && (/\s$/.test(match[1]) || isPrice(match[1]))) return null;
  if (kind.open === "\\[" && !/[\\^_=]/.test(match[1])) return null; // an escaped bracket, as in "\[sic\]"
  return { raw: match[0], tex: match[1].trim(), display: kind.display };
}

/* Where a formula may begin: not within a word ("US$5"), nor at an escaped dollar. -1 if nowhere. */
export function formulaStart(src) {
  return src.search(/(?<![\w$\\])\$|\\[([]/);
}

/* Two prices and the prose between them ("$5 a month, or 50$") look like a formula that begins with a number. */
function isPrice(tex) {
  const bare = tex.replace(/\\[a-zA-Z]+(?:\{[^}]*\})?/g, "");
  return /^\d/.test(tex) && /(?:^|[\s,/])[A-Za-z]{2,}(?=[\s,.;:!?]|$)/.test(bare);
}

/* Make the unfinished end of a streamed text presentable: close what is open, hide half a link or half a citation. */
export function heal(tail) {
  const fences = tail.match(/^ {0,3}(?:```|~~~)/gm);
  if (fences && fences.length % 2) return tail;
  const from = tail.lastIndexOf("\n\n") + 1;
  let end = tail.slice(from).replace(/!?\[([^\]\n]*)\]\([^)\s]*$/, "$1").replace(/\[[\d,\s–-]*$/, "");
  const prose = end.replace(/`[^`]*`/g, "");
  if (prose.includes("`")) return `${tail.slice(0, from)}${end}\``;
  if ((prose.match(/(?<!\\)\*\*/g) ?? []).length % 2) {
    end = /\*\*\s*$/.test(end) ? end.replace(/\*\*\s*$/, "") : `${end.trimEnd()}**`;
  }
  return tail.slice(0, from) + end;
}

/* The whole answer as markdown for the clipboard, its sources listed below. */
export function answerText(parts, sources) {
  const text = parts.filter((part) => part.type === "text").map((part) => part.text.trim()).join("\n\n");
  const list = sources.map(({ number, title, url }) => `[${number}] ${title} ${url}`).join("\n");
  return list ? `${text}\n\nSources:\n${list}` : text;
}
