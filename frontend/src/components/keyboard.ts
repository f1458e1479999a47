import type React from "react";

/** Whether Enter or Space belongs to the button that has the focus. */
export function pressesControl(event: React.KeyboardEvent): boolean {
  return (event.key === "Enter" || event.key === " ") && event.target instanceof Element && event.target.closest("button") !== null;
}

/** Whether a key goes into a field. */
export function isTyping(target: EventTarget): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, [role=combobox], [role=listbox]") !== null;
}
