/* KaTeX with its style sheet and fonts, which are bundled with the app. Loaded with the first formula. */
import katex from "katex";
import "katex/dist/katex.min.css";

/* HTML and MathML of a formula, or "" if KaTeX cannot read it. `trust` is off: no links, images or classes from a
   formula; `maxExpand` and `maxSize` bound what a hostile one can cost. */
export function render(tex, displayMode) {
  try {
    return katex.renderToString(tex, { displayMode, trust: false, strict: "ignore", maxExpand: 500, maxSize: 20 });
  } catch (error) {
    if (error instanceof katex.ParseError) return "";
    throw error;
  }
}
