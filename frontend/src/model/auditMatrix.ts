// The matrix of given and suggested labels, and names of queues.
import type { AuditFacts, LeftPair, Wanted } from "./auditApi";
import { ISSUE_AT } from "./auditEffects";

export interface Matrix {
  /** Classes of the rows and columns, in the order of the audit. */
  readonly classes: readonly string[];
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly most: number;
  /** Number of classes with suspicious labels that are not shown. */
  readonly hidden: number;
}

/** The classes with most suspicious labels, and how many of these are left for each pair. */
export function matrixOf(classes: readonly string[], left: readonly LeftPair[], mostClasses: number): Matrix {
  const weight = new Map<string, number>();
  for (const [given, suggestion, n] of left) {
    for (const label of [given, suggestion]) weight.set(label, (weight.get(label) ?? 0) + n);
  }
  const chosen = new Set([...weight].sort((one, other) => other[1] - one[1]).slice(0, mostClasses).map(([label]) => label));
  const counts = new Map<string, Map<string, number>>();
  let most = 0;
  for (const [given, suggestion, n] of left) {
    if (!chosen.has(given) || !chosen.has(suggestion)) continue;
    const row = counts.get(given) ?? new Map<string, number>();
    counts.set(given, row.set(suggestion, n));
    most = Math.max(most, n);
  }
  return { classes: classes.filter((label) => chosen.has(label)), counts, most, hidden: weight.size - chosen.size };
}

/** Number of undecided suspicious labels of each class. */
export function leftByClass(left: readonly LeftPair[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const [given, , n] of left) found.set(given, (found.get(given) ?? 0) + n);
  return found;
}

/** A queue in words. */
export function queueTitle(wanted: Wanted, facts: AuditFacts): string {
  const { given, suggestion, issue, p_wrong } = wanted;
  if (given !== undefined && suggestion !== undefined) return `${given} → ${suggestion}`;
  if (given !== undefined) return `labeled ${given}`;
  if (issue !== undefined) return facts.issues.find((known) => known.kind === issue)?.text ?? issue;
  return p_wrong === undefined ? "all labels, worst first" : "suspicious labels";
}

/** The labels that are more probably wrong than right. */
export const SUSPICIOUS: Wanted = { p_wrong: ISSUE_AT };
