// Keys of the tab Audit, and the classes that the digits stand for.
import type { AuditItem, ClassNoise, Verdict } from "./auditApi";
import { matching, type Binding, type Pressed } from "./keys";

export type AuditCommand =
  | "start"
  | "back"
  | "keep"
  | "accept"
  | "exclude"
  | "unsure"
  | "other"
  | "group"
  | "undo"
  | "redo"
  | "above"
  | "write"
  | "help";

export type AuditPage = "tables" | "queue";

const both = ["tables", "queue"] as const;

export const AUDIT_BINDINGS: readonly Binding<AuditCommand, AuditPage>[] = [
  { key: "Enter", shown: "Enter", command: "start", pages: ["tables"], text: "Open the queue, the most suspicious label first" },
  { key: "k", shown: "K", command: "keep", pages: ["queue"], text: "Keep the label: it is right" },
  { key: "a", shown: "A", command: "accept", pages: ["queue"], text: "Accept the suggestion" },
  { key: "o", shown: "O", command: "other", pages: ["queue"], text: "Another class, by its name" },
  { key: "x", shown: "X", command: "exclude", pages: ["queue"], text: "Exclude the image: it must not be used" },
  { key: "u", shown: "U", command: "unsure", pages: ["queue"], text: "Not sure: put it aside" },
  { key: "w", shown: "W", command: "group", pages: ["queue"], text: "Decide for the whole group, where all its labels are suspicious" },
  { key: "p", shown: "P", command: "above", pages: both, text: "Accept all suggestions above a probability" },
  { key: "l", shown: "L", command: "write", pages: both, text: "Write the decided labels to a field" },
  { key: "Escape", shown: "Esc", command: "back", pages: ["queue"], text: "Back to the tables" },
  { key: "z", shown: "Ctrl+Z", command: "undo", pages: both, ctrl: true, text: "Undo" },
  { key: "z", shown: "Ctrl+Shift+Z", command: "redo", pages: both, ctrl: true, shift: true, text: "Redo" },
  { key: "y", shown: "Ctrl+Y", command: "redo", pages: both, ctrl: true, text: "Redo" },
  { key: "?", shown: "?", command: "help", pages: both, text: "Show these keys" },
];

/** Command of a pressed key; null if it has none. */
export function auditCommandOf(pressed: Pressed, page: AuditPage): AuditCommand | null {
  return matching(AUDIT_BINDINGS, pressed, page);
}

/** Place in the legend that a digit stands for, from 0; null for other keys. */
export function digitOf(pressed: Pressed): number | null {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || !/^[1-9]$/.test(pressed.key)) return null;
  return Number(pressed.key) - 1;
}

export const MOST_KEYS = 9;

/**
 * Classes of the keys 1 to 9. Up to nine classes keep their keys for all images. Of more, these are shown for an image:
 * the labels of its neighbors, most frequent first, then the class that its label is mostly mistaken for, then the
 * largest classes; its label and the suggestion have keys of their own.
 */
export function classKeys(classes: readonly string[], byClass: readonly ClassNoise[], item: AuditItem): string[] {
  if (classes.length <= MOST_KEYS) return [...classes];
  const counts = new Map<string, number>();
  for (const { given } of item.neighbors) if (given !== null) counts.set(given, (counts.get(given) ?? 0) + 1);
  const near = [...counts].sort((one, other) => other[1] - one[1]).map(([label]) => label);
  const mistaken = byClass.find((row) => row.label === item.given)?.taken_for;
  const large = [...byClass].sort((one, other) => other.n_images - one.n_images).map((row) => row.label);
  const found = new Set([...near, ...(mistaken ? [mistaken] : []), ...large, ...classes]);
  found.delete(item.given);
  if (item.suggestion !== null) found.delete(item.suggestion);
  return [...found].slice(0, MOST_KEYS);
}

export interface Decided {
  readonly decision: Verdict;
  readonly label: string | null;
}

/** The decision that a class means: the label itself is kept, the suggestion accepted. */
export function decisionFor(label: string, item: AuditItem): Decided {
  if (label === item.given) return { decision: "keep", label: null };
  if (label === item.suggestion) return { decision: "accept", label: null };
  return { decision: "other", label };
}

/** A decision in words. */
export function decidedText({ decision, label }: Decided, item: AuditItem): string {
  switch (decision) {
    case "keep":
      return `kept ${item.given}`;
    case "accept":
      return `${item.given} → ${item.suggestion ?? ""}`;
    case "other":
      return `${item.given} → ${label ?? ""}`;
    case "exclude":
      return `excluded (${item.given})`;
    case "unsure":
      return `not sure (${item.given})`;
  }
}
