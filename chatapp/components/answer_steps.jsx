/* What was done on the way to the answer: searches, and programs with their output and figures. */
import React, { memo } from "react";
import { Code, CopyButton } from "./answer_code.jsx";
import { Chart } from "./answer_lazy.jsx";
import { figureUrl } from "./answer_text.js";

/* One line on a step, for the step itself and for the announcement to screen readers. */
export function stepText(part) {
  if (part.type === "search") {
    if (part.status === "running") return `Searching for “${part.query}”`;
    if (part.status === "failed") return `Search for “${part.query}” failed`;
    return `Searched “${part.query}” · ${part.found} ${part.found === 1 ? "source" : "sources"}`;
  }
  if (part.status === "running") return "Running Python";
  return part.status === "failed" ? "Python failed" : "Ran Python";
}

export const SearchStep = memo(function SearchStep({ part }) {
  return (
    <div className="answer-step" data-status={part.status}>
      <div className="answer-step-line"><Mark status={part.status} /><span>{stepText(part)}</span></div>
      {part.error && <p className="answer-error">{part.error}</p>}
    </div>
  );
});

export const CodeStep = memo(function CodeStep({ part, apiUrl }) {
  return (
    <div className="answer-step" data-status={part.status}>
      <details>
        <summary className="answer-step-line"><Mark status={part.status} /><span>{stepText(part)}</span></summary>
        <div className="answer-code">
          <div className="answer-code-bar"><span>python</span><CopyButton text={part.code} what="code" /></div>
          <Code code={part.code} language="python" live={part.status === "running"} />
        </div>
      </details>
      {part.output && <pre className="answer-output" tabIndex={0} role="region" aria-label="Output">{part.output}</pre>}
      {part.error && <CodeError error={part.error} />}
      {(part.figures ?? []).map((figure, at) => <Figure key={at} figure={figure} apiUrl={apiUrl} />)}
    </div>
  );
});

/* A traceback's last line says what went wrong; the rest is there for those who want it. */
function CodeError({ error }) {
  const lines = error.trim().split("\n");
  return (
    <div className="answer-error">
      <p>{lines.at(-1)}</p>
      {lines.length > 1 && (
        <details>
          <summary>Traceback</summary>
          <pre tabIndex={0} role="region" aria-label="Traceback">{error}</pre>
        </details>
      )}
    </div>
  );
}

function Figure({ figure, apiUrl }) {
  if (figure.chart) return <ChartFigure chart={figure.chart} />;
  const src = figureUrl(apiUrl, figure.url);
  if (!src) return <p className="answer-error">A figure has an address that is not ours, and was left out.</p>;
  return (
    <figure className="answer-figure">
      <img src={src} alt={figure.alt || "Figure drawn by the program above"} loading="lazy" decoding="async" />
      {figure.alt && <figcaption>{figure.alt}</figcaption>}
    </figure>
  );
}

function ChartFigure({ chart }) {
  const names = chart.series.map(({ name }) => name).filter(Boolean).join(", ");
  const label = `${chart.kind[0].toUpperCase()}${chart.kind.slice(1)} chart${chart.title ? `: ${chart.title}` : ""}`;
  return (
    <figure className="answer-figure">
      {chart.title && <figcaption>{chart.title}</figcaption>}
      <div role="img" aria-label={names ? `${label}. Shown: ${names}.` : label}><Chart chart={chart} /></div>
      <details>
        <summary>Data as a table</summary>
        <ChartTable chart={chart} />
      </details>
    </figure>
  );
}

function ChartTable({ chart }) {
  return (
    <div className="answer-scroll" tabIndex={0} role="region" aria-label="Data of the chart">
      <table>
        <thead>
          <tr>
            <th scope="col">{chart.x_title || "x"}</th>
            {chart.series.map(({ name }, at) => <th key={at} scope="col">{name || chart.y_title || "value"}</th>)}
          </tr>
        </thead>
        <tbody>
          {chart.x.map((x, row) => (
            <tr key={row}>
              <th scope="row">{x}</th>
              {chart.series.map(({ values }, at) => <td key={at}>{values[row]}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/* Without a status, or while running, a calm point. */
export function Mark({ status }) {
  return <span className="answer-mark" aria-hidden="true">{{ done: "✓", failed: "!" }[status] ?? ""}</span>;
}
