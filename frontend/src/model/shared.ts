// Types of the panel's messages that both the clusters and the audit use.

/** Relative x, y, width, height of an object in its image. */
export type Box = readonly [number, number, number, number];

export interface Picture {
  id: string;
  sample: string;
  path: string;
  box: Box | null;
}

export interface History {
  undo: string | null;
  redo: string | null;
  /** Number of edits that cannot be undone: made before the dataset was cloned. */
  lost: number;
  version: number;
}

export interface Change {
  n_changed: number;
  n_kept: number;
  text: string;
}
