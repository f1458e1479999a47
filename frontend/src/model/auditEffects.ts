// Effects of decisions that are shown immediately, before the server answers.
import type { AuditItem, AuditProgress, LeftPair, Verdict } from "./auditApi";

/** From this probability on, a label is more probably wrong than right. */
export const ISSUE_AT = 0.5;

/** The part of the state that decisions change. */
export interface Known {
  readonly progress: AuditProgress | null;
  readonly left: readonly LeftPair[];
  /** The next labels of the queue; the first is shown. */
  readonly items: readonly AuditItem[];
  /** Number of labels in the queue; null: not known yet. */
  readonly total: number | null;
}

export const NOTHING: Known = { progress: null, left: [], items: [], total: null };

export type Effect = (known: Known) => Known;

export function same(known: Known): Known {
  return known;
}

/** The label that is shown stays, if the answer has it, or if it came after the question. */
export function keepShown(items: readonly AuditItem[], shown: AuditItem | undefined, asked: string | null): readonly AuditItem[] {
  if (shown === undefined || items[0]?.id === shown.id) return items;
  const isThere = items.some((item) => item.id === shown.id);
  if (!isThere && shown.id === asked) return items; // somebody else has decided it
  return [shown, ...items.filter((item) => item.id !== shown.id)];
}

/** Labels that are decided leave the queue, and count as decided. */
export function removing(some: readonly AuditItem[], verdict: Verdict): Effect {
  const ids = new Set(some.map((item) => item.id));
  return (known) => ({
    progress: counted(known.progress, some, verdict, 1),
    left: leftAfter(known.left, some, -1),
    items: known.items.filter((item) => !ids.has(item.id)),
    total: known.total === null ? null : Math.max(0, known.total - ids.size),
  });
}

/** Labels whose decision is undone come first in the queue again. */
export function restoring(some: readonly AuditItem[], verdict: Verdict): Effect {
  const ids = new Set(some.map((item) => item.id));
  return (known) => ({
    progress: counted(known.progress, some, verdict, -1),
    left: leftAfter(known.left, some, 1),
    items: [...some, ...known.items.filter((item) => !ids.has(item.id))],
    total: known.total === null ? null : known.total + ids.size,
  });
}

function isIssue(item: AuditItem): boolean {
  return item.p_wrong >= ISSUE_AT;
}

function counted(progress: AuditProgress | null, some: readonly AuditItem[], verdict: Verdict, sign: 1 | -1): AuditProgress | null {
  if (progress === null) return null;
  const n = sign * some.length;
  return {
    ...progress,
    n_decided: progress.n_decided + n,
    n_issues_left: progress.n_issues_left - sign * some.filter(isIssue).length,
    verdicts: { ...progress.verdicts, [verdict]: progress.verdicts[verdict] + n },
  };
}

function leftAfter(left: readonly LeftPair[], some: readonly AuditItem[], sign: 1 | -1): readonly LeftPair[] {
  let found = [...left];
  for (const item of some.filter(isIssue)) {
    const { given, suggestion } = item;
    if (suggestion === null) continue;
    const known = found.some(([one, other]) => one === given && other === suggestion);
    if (!known) found.push([given, suggestion, 0]);
    found = found.map((pair) => (pair[0] === given && pair[1] === suggestion ? [given, suggestion, pair[2] + sign] : pair));
  }
  return found.filter((pair) => pair[2] > 0);
}
