/* Parts whose libraries are large: each arrives with the first answer that needs it, and never in others. */
import React, { memo, useEffect, useState } from "react";

const loaded = new Map();
const loading = new Map();
const LOADERS = {
  math: () => import("./answer_math.js"),
  highlight: () => import("./answer_highlight.js"),
  chart: () => import("./answer_chart.jsx"),
};

/* The module `name` once it is here, else null. `wanted` false asks for nothing. A failed load (a deployment in
   between, no network) leaves the plain form in place, and is tried again by the next part that wants it. */
export function useLazy(name, wanted = true) {
  const [module, setModule] = useState(() => loaded.get(name) ?? null);
  useEffect(() => {
    if (module || !wanted) return undefined;
    let current = true;
    load(name).then(
      (arrived) => current && setModule(arrived),
      (error) => console.warn(`The ${name} part of answers could not be loaded.`, error),
    );
    return () => { current = false; };
  }, [name, wanted, module]);
  return module;
}

function load(name) {
  if (!loading.has(name)) {
    loading.set(name, LOADERS[name]().then(
      (module) => { loaded.set(name, module); return module; },
      (error) => { loading.delete(name); throw error; },
    ));
  }
  return loading.get(name);
}

/* A formula; until KaTeX is here, and where it cannot read it, its source. */
export const Formula = memo(function Formula({ tex, display = false }) {
  const math = useLazy("math");
  const html = math?.render(tex, display);
  const Tag = display ? "div" : "span";
  const className = display ? "answer-formula answer-scroll" : "answer-formula";
  if (!html) return <Tag className={className}><code>{tex}</code></Tag>;
  // The one place that sets HTML: KaTeX wrote it, with trust off, from escaped text.
  return <Tag className={className} tabIndex={display ? 0 : undefined} dangerouslySetInnerHTML={{ __html: html }} />;
});

/* A chart given as data, drawn once the library is here. */
export function Chart({ chart }) {
  const library = useLazy("chart");
  return library ? <library.ChartPlot chart={chart} /> : <div className="answer-plot" aria-hidden="true" />;
}
