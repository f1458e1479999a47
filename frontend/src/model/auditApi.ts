// What the Python panel answers about label audits. Field names are those of the JSON.
import type { Change, History, Picture } from "./shared";

export type Verdict = "keep" | "accept" | "other" | "exclude" | "unsure";

export interface NeighborImage extends Picture {
  given: string | null;
  decision: string | null;
}

/** A label in the queue. */
export interface AuditItem extends Picture {
  given: string;
  suggestion: string | null;
  p_wrong: number;
  reason: string | null;
  /** Group whose labels are wrong as a whole. */
  group: string | null;
  cluster: string | null;
  issues: readonly string[];
  neighbors: readonly NeighborImage[];
}

export interface NoiseRate {
  rate: number;
  low: number;
  high: number;
}

export interface ClassNoise {
  label: string;
  n_images: number;
  n_issues: number;
  noise: NoiseRate | null;
  taken_for: string | null;
}

export interface AuditFacts {
  key: string;
  unit: "image" | "object";
  label_field: string;
  /** Fields that the labels can be written to; the audited one first. */
  fields: readonly string[];
  /** Key of the run whose clusters are named in the reasons; null without one. */
  run: string | null;
  classes: readonly string[];
  by_class: readonly ClassNoise[];
  clusters: readonly { cluster: string; n_images: number; label: string; share: number }[];
  issues: readonly { kind: string; text: string; n_images: number }[];
  noise: NoiseRate | null;
  n_images: number;
  n_labeled: number;
  n_audited: number;
  /** How often the scores were fitted. */
  n_fits: number;
}

export interface AuditProgress {
  n_audited: number;
  n_decided: number;
  /** Undecided labels that are more probably wrong than right. */
  n_issues_left: number;
  verdicts: Readonly<Record<Verdict, number>>;
  refit_due: boolean;
  refitting: boolean;
}

/** Given label, suggested label, number of undecided labels that are more probably wrong than right. */
export type LeftPair = readonly [string, string, number];

/** Which labels of the queue are wanted; missing: all. */
export interface Wanted {
  given?: string;
  suggestion?: string;
  issue?: string;
  p_wrong?: number;
}

export type AuditEdit =
  | { verb: "decide"; image?: string; group?: string; decision: Verdict; label: string | null }
  | { verb: "accept_above"; p_wrong: number; wanted: Wanted }
  | { verb: "commit"; field: string; overwrite: boolean }
  | { verb: "undo" }
  | { verb: "redo" };

export type AuditLoadAnswer =
  | { audits: readonly string[]; audit: null }
  | {
      audits: readonly string[];
      audit: AuditFacts;
      left: readonly LeftPair[];
      progress: AuditProgress;
      history: History;
    };

export interface AuditEditAnswer {
  change: Change;
  /** Number of the edit that was made, undone or redone. */
  number: number | null;
  progress: AuditProgress;
  history: History;
  /** Whether others edited since the version that was sent. */
  stale: boolean;
}

export interface AbovePreview {
  n: number;
  pairs: readonly { given: string; suggestion: string; n: number }[];
  sample: readonly AuditItem[];
}

export interface LabelsPreview {
  n: number;
  pairs: readonly { given: string; label: string; n: number }[];
  /** Of the `n`, those that are written as given. */
  n_as_given: number;
  /** Images that keep a label that somebody else has written. */
  n_kept: number;
  /** Of the `n`, those that replace such a label. */
  n_replaced: number;
  made_field: boolean;
}

/** Events of the tab Audit with their parameters and answers. */
export interface AuditEvents {
  audit_load: { params: { audit: string | null }; answer: AuditLoadAnswer };
  audit_queue: {
    params: { audit: string; wanted: Wanted; n: number; first: string | null; count: boolean };
    /** `total` is null where it was not to be counted. */
    answer: { total: number | null; items: AuditItem[] };
  };
  audit_edit: { params: { audit: string; edit: AuditEdit; version: number }; answer: AuditEditAnswer };
  audit_preview_above: {
    params: { audit: string; p_wrong: number; seed: number; wanted: Wanted };
    answer: AbovePreview;
  };
  audit_preview_labels: { params: { audit: string; field: string; overwrite: boolean }; answer: LabelsPreview };
  audit_refit: { params: { audit: string }; answer: Record<string, never> };
  audit_poll: {
    params: { audit: string | null; version: number };
    answer: { audits: readonly string[]; stale: boolean; n_fits: number; refitting: boolean };
  };
}
