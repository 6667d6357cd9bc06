import React, { useEffect, useRef } from "react";

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
  const submit = (event) => {
    if (!connected && native) return;
    event.preventDefault();
    if (connected) onAsk(Object.fromEntries(new FormData(event.currentTarget)));
  };
  return <form method="post" action={action} onSubmit={submit}>{children}</form>;
}
