import React, { useEffect, useRef } from "react";
import { useLocation } from "react-router";

// The browser's own modal dialog: it traps focus, closes on Escape, and gives the focus back.
export function Modal({ open, label, onClose, children }) {
  const ref = useRef(null);
  useEffect(() => {
    const dialog = ref.current;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);
  return (
    <dialog
      ref={ref}
      className="modal"
      aria-label={label}
      onClose={() => open && onClose?.()}
      onClick={(event) => event.target === ref.current && ref.current.close()}
    >
      {open ? children : null}
    </dialog>
  );
}

// Puts an example into the question's field and focuses it; the person still decides whether to send it.
export function Example({ target, text }) {
  const use = () => {
    const field = document.getElementById(target);
    if (!field) return;
    field.value = text;
    field.focus();
  };
  return <button type="button" onClick={use}>{text}</button>;
}

// Keeps the end of a growing conversation in view, unless the reader has scrolled up.
export function Follow({ watch, children, className }) {
  const ref = useRef(null);
  const near = useRef(true);
  useEffect(() => {
    const box = ref.current;
    const toEnd = () => near.current && box.scrollTo({ top: box.scrollHeight });
    const onScroll = () => { near.current = box.scrollHeight - box.scrollTop - box.clientHeight < 120; };
    box.addEventListener("scroll", onScroll, { passive: true });
    const observer = new ResizeObserver(toEnd);
    for (const child of box.children) observer.observe(child);
    return () => { box.removeEventListener("scroll", onScroll); observer.disconnect(); };
  }, []);
  useEffect(() => {
    near.current = true;
    ref.current.scrollTo({ top: ref.current.scrollHeight });
  }, [watch]);
  return <div ref={ref} className={className} tabIndex={-1}>{children}</div>;
}

// The question's form. With a session it hands the question to the page's state; without one, or before the page is
// connected, the browser submits it natively, so that nothing that was typed is ever lost to a page that starts late.
export function AskForm({ connected, native, action, onAsk, children }) {
  const form = useRef(null);
  const { pathname } = useLocation();
  const focus = () => {
    // Not on a touch screen, where the focus would bring up the keyboard over the chat that was opened to be read.
    if (matchMedia("(pointer: fine)").matches) form.current.querySelector("textarea").focus();
  };
  useEffect(focus, [pathname]);
  const sent = useRef(0);
  const submit = (event) => {
    // A second Enter while the first is under way is no second question.
    const again = Date.now() - sent.current < 400;
    sent.current = Date.now();
    if (!connected && native && !again) return;
    event.preventDefault();
    if (connected && !again) onAsk(Object.fromEntries(new FormData(event.currentTarget)));
  };
  // The button that was pressed, to ask or to stop, gives way to the other one, and must not take the focus with it.
  const pressed = ({ target }) => target.closest("button") && focus();
  return (
    <form ref={form} className="ask" method="post" action={action} onSubmit={submit} onClick={pressed}>
      {children}
    </form>
  );
}

// A form that was sent before and has come back: what was typed stands there again, and the cursor where it is needed.
export function FormStart({ ready, email, name, field }) {
  const ref = useRef(null);
  const placed = useRef(null);
  useEffect(() => {
    if (!ready) return;
    const form = ref.current.closest("form");
    for (const [key, typed] of Object.entries({ email, name })) {
      const input = form.elements.namedItem(key);
      if (input && !input.value) input.value = typed;
    }
    const active = document.activeElement;
    if (form.contains(active) && active !== placed.current) return; // somebody is at work already
    const inputs = [...form.querySelectorAll("input:not([type=hidden])")];
    const empty = ({ required, value }) => required && !value;
    placed.current = inputs.find(({ name }) => name === field) ?? inputs.find(empty);
    placed.current?.focus();
  }, [ready, email, name, field]);
  return <span ref={ref} hidden />;
}

// The router would only scroll there; a keyboard needs the focus.
export function Skip({ target, fallback, children }) {
  const focus = (event) => {
    event.preventDefault();
    (document.getElementById(target) ?? document.getElementById(fallback)).focus();
  };
  return <a className="skip" href={`#${fallback}`} onClick={focus}>{children}</a>;
}

// Pages change without a new document, so a drawer that stays open would cover the page it led to.
export function Drawer({ id, className, label, children }) {
  const close = ({ currentTarget: nav, target }) => {
    if (target.closest("a") && nav.matches(":popover-open")) nav.hidePopover();
  };
  return <nav id={id} className={className} aria-label={label} popover="auto" onClick={close}>{children}</nav>;
}
