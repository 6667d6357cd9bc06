/* Colours for code. Loaded with the first code block; the languages are those that answers mostly hold. */
import bash from "highlight.js/lib/languages/bash";
import cpp from "highlight.js/lib/languages/cpp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import r from "highlight.js/lib/languages/r";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";

const lowlight = createLowlight({
  bash, cpp, css, diff, go, java, javascript, json, python, r, rust, sql, typescript, xml, yaml,
});
const LIMIT = 40_000; // characters: beyond, colouring would be felt

/* The code as a tree of {type: "text", value} and {type: "element", properties, children}; null if the language is
   unknown or the code too long. */
export function highlight(code, language) {
  if (!language || code.length > LIMIT || !lowlight.registered(language)) return null;
  return lowlight.highlight(language, code).children;
}
