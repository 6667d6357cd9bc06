/* A page that holds answers and nothing else. A test calls show([{messageId, …props}]); the handler's calls are in
   `ended`, and `renders` counts how often each message's parts were mapped, which only rendering does. */
import React from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import { Answer } from "./components/answer.jsx";

window.ended = [];
window.renders = {};
const root = createRoot(document.getElementById("root"));

function counted(messageId, parts = []) {
  const copy = structuredClone(parts);
  Object.defineProperty(copy, "map", {
    enumerable: false,
    value(...args) {
      window.renders[messageId] = (window.renders[messageId] ?? 0) + 1;
      return Array.prototype.map.apply(this, args);
    },
  });
  return copy;
}

window.show = (messages) => flushSync(() => root.render(
  messages.map(({ parts, ...props }) => (
    <Answer key={props.messageId} {...props} parts={counted(props.messageId, parts)}
      onDone={(...args) => window.ended.push(args)} />
  )),
));
