/* Code with its language, colours and a button that copies it. */
import React, { memo, useEffect, useState } from "react";
import { useLazy } from "./answer_lazy.jsx";

/* While `live`, the block still grows: it is not coloured, which would cost a pass over all of it at each step. */
export const CodeBlock = memo(function CodeBlock({ code, language = "", live = false }) {
  const name = /^[\w#+.-]*/.exec(language)[0].toLowerCase();
  return (
    <div className="answer-code">
      <div className="answer-code-bar">
        <span>{name || "text"}</span>
        <CopyButton text={code} what="code" />
      </div>
      <Code code={code} language={name} live={live} />
    </div>
  );
});

export const Code = memo(function Code({ code, language, live = false }) {
  const library = useLazy("highlight", !live && Boolean(language));
  const tree = live ? null : library?.highlight(code, language);
  return (
    <pre tabIndex={0} role="region" aria-label={language ? `Code, ${language}` : "Code"}>
      <code>{tree ? tree.map(node) : code}</code>
    </pre>
  );
});

function node(item, at) {
  if (item.type === "text") return item.value;
  return <span key={at} className={item.properties.className?.join(" ")}>{item.children.map(node)}</span>;
}

/* Copies `text`, or what `text()` returns, and says whether that worked. */
export function CopyButton({ text, what }) {
  const [result, setResult] = useState("");
  useEffect(() => {
    if (!result) return undefined;
    const timer = setTimeout(() => setResult(""), 2000);
    return () => clearTimeout(timer);
  }, [result]);
  const copy = async () => {
    setResult((await copied(typeof text === "function" ? text() : text)) ? "Copied" : "Could not copy");
  };
  return (
    <button type="button" className="answer-button" onClick={copy} aria-label={result || `Copy ${what}`}>
      {result || "Copy"}
    </button>
  );
}

/* Browsers refuse the clipboard without a secure context or permission; then the older command may still work. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
    area.style.cssText = "position:fixed;opacity:0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
