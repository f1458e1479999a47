// What the Python panel answers. Field names are those of the JSON, so they are written with underscores.
import type { AuditEvents } from "./auditApi";
import type { Change, History, Picture } from "./shared";

export interface Image extends Picture {
  confidence: number | null;
  distance: number | null;
  margin: number | null;
  changes: number | null;
  /** Name of its cluster. */
  cluster: string;
  label: string | null;
}

export interface Cluster {
  name: string;
  size: number;
  reviewed: boolean;
  noise: boolean;
  distance: number | null;
  confidence: number | null;
  uncertain: number;
  changes: number | null;
  /** Share of cluster-mates kept over the last rounds. */
  stability: number | null;
  /** Images farther from the center are outliers. */
  outlier_from: number | null;
  /** Numbers of the run that its images have, most frequent first. */
  numbers: readonly number[];
  majority: string | null;
  majority_share: number | null;
  key_words: readonly string[];
}

export interface Chart {
  title: string;
  unit: string;
  lines: readonly { name: string; values: readonly (number | null)[] }[];
}

export interface RunRow {
  key: string;
  method: string;
  status: "finished" | "running" | "queued" | "interrupted" | "failed" | "cancelled";
  text: string;
  fraction: number | null;
  started: number | null;
  /** Whether it was requested to stop. */
  cancelling: boolean;
  /** Whether it can be resumed after its last round. */
  resumable: boolean;
  /** Whether the values entered into its form are stored. */
  again: boolean;
  charts: readonly Chart[];
}

/** A job that is no run: an analysis of a run, a label audit, an import. */
export interface JobRow {
  key: string;
  /** Name of its operator. */
  verb: string;
  /** Key of the run or audit that it is about; empty without one. */
  about: string;
  /** What it does, in words. */
  method: string;
  status: "queued" | "running" | "finished" | "failed" | "cancelled";
  text: string;
  fraction: number | null;
  started: number;
  cancelling: boolean;
  again: boolean;
  /** Name of another dataset that it has filled. */
  made: string;
}

export interface Rows {
  runs: readonly RunRow[];
  jobs: readonly JobRow[];
}

export interface RunFacts {
  key: string;
  method: string;
  unit: "image" | "object";
  label_fields: readonly string[];
  /** Path of the cluster, for colors. */
  label_path: string;
  /** Brain key of the 2-D map; null without one. */
  map: string | null;
  rounds: number;
  verdict: string;
  facts: string;
  warnings: readonly string[];
  resumable: boolean;
}

export interface SidebarGroup {
  name: string;
  paths: readonly string[];
  expanded: boolean | null;
}

/** Where images were in some rounds: (cluster, images) in each; (cluster, cluster in the next round, images) between. */
export interface Flow {
  n_images: number;
  rounds: readonly number[];
  groups: readonly (readonly (readonly [number, number])[])[];
  links: readonly (readonly (readonly [number, number, number])[])[];
}

export interface LoadAnswer extends Rows {
  /** Keys of the label audits. */
  audits: readonly string[];
  sidebar: readonly SidebarGroup[];
  run: RunFacts | null;
  clusters: readonly Cluster[];
  /** Number of a cluster in the run -> numbers of the nearest ones. */
  nearest: Readonly<Record<string, readonly number[]>>;
  history: History;
  /** The label field asked for; null if the run has no such field. */
  label_field: string | null;
}

export interface ImagesAnswer {
  images: readonly Image[];
  total: number;
}

export interface EditAnswer {
  change: Change;
  /** Clusters that changed, and names that are gone. */
  clusters: readonly Cluster[];
  gone: readonly string[];
  /** Whether others edited since the version that was sent. */
  stale: boolean;
  history: History;
  /** Label fields of the run, with those that the edit created. */
  label_fields: readonly string[];
}

export type ImageOrder = "nearest" | "farthest" | "uncertain" | "random" | "moved";

/** Chosen images: single ids, or a whole cluster without some. */
export type Chosen = { ids: string[] } | { cluster: string; except: string[] };

export type Edit =
  | { verb: "rename"; cluster: string; new_name: string }
  | { verb: "merge"; clusters: string[]; into: string }
  | { verb: "split"; cluster: string; n_clusters: number | null }
  | { verb: "move"; images: Chosen; to: string }
  | { verb: "reject"; images: Chosen }
  | { verb: "mark_reviewed"; clusters: string[]; reviewed: boolean }
  | { verb: "label_cluster"; cluster: string; field: string; label: string; overwrite: boolean }
  | { verb: "commit"; field: string; overwrite: boolean; only_reviewed: boolean; only_named: boolean }
  | { verb: "undo" }
  | { verb: "redo" };

export interface SplitPreview {
  parts: readonly { size: number; pictures: readonly Picture[] }[];
}

export interface CommitRow {
  cluster: string;
  label: string;
  changes: number;
  keeps: number;
}

export interface RoundsAnswer {
  charts: readonly Chart[];
  alarms: readonly string[];
}

export interface CompareAnswer {
  rows: readonly string[];
  columns: readonly string[];
  counts: readonly (readonly number[])[];
  ari: number;
  nmi: number;
  text: readonly string[];
}

/** Runs, the one that agrees most with the others first. */
export interface RankAnswer {
  /** `nmi`: mean NMI with the other runs. */
  rows: readonly { key: string; nmi: number; clusters: number }[];
}

export interface LayerScore {
  layer: string;
  network: "trained" | "initial";
  logistic: number;
  svm: number;
}

export interface TreeNode {
  name: string;
  parent: string;
  size: number;
  clusters: readonly string[];
  leaf: boolean;
}

/** Scores of several numbers of clusters, and the recommended one. */
export interface NumbersAnswer {
  readonly numbers: readonly number[];
  readonly lines: readonly { name: string; values: readonly number[] }[];
  readonly objective: readonly number[];
  /** Null where it was not measured. Empty in sweeps of older versions. */
  readonly gain: readonly (number | null)[];
  /** Gain from which a number stands out. */
  readonly stands_out: number;
  readonly recommended: number;
  readonly interval: readonly [number, number];
  readonly advice: string;
}

export interface AnalysesAnswer {
  probe: {
    label_field: string;
    n_images: number;
    n_classes: number;
    folds: number;
    chance: number;
    scores: readonly LayerScore[];
  } | null;
  numbers: NumbersAnswer | null;
  layer: string | null;
  units: readonly { unit: number; path: string }[];
  retrieval: {
    label_field: string;
    scores: readonly { features: string; k: number; mean_average_precision: number; precision: number; chance: number }[];
  } | null;
  tree: readonly TreeNode[];
}

export type NeighborsAnswer = { neighbors: Record<string, (Picture & { distance: number })[]> | null };

/** Every event with its parameters and its answer. */
export interface Events extends AuditEvents {
  load: { params: { key: string | null; label_field: string | null }; answer: LoadAnswer };
  strips: { params: { key: string; clusters: string[]; n: number }; answer: { strips: Record<string, Picture[]> } };
  images: {
    params: {
      key: string;
      cluster: string;
      order: ImageOrder;
      offset: number;
      limit: number;
      label_field: string | null;
    };
    answer: ImagesAnswer;
  };
  edit: {
    params: { key: string; edit: Edit; dry_run: boolean; label_field: string | null; version: number };
    answer: EditAnswer;
  };
  preview_split: { params: { key: string; cluster: string; n_clusters: number | null }; answer: SplitPreview };
  preview_commit: {
    params: { key: string; field: string; overwrite: boolean; only_reviewed: boolean; only_named: boolean };
    answer: { rows: CommitRow[] };
  };
  names: { params: { key: string; cluster: string; label_field: string | null }; answer: { names: string[] } };
  similar: {
    params: { key: string; ids: string[]; clusters: string[]; n: number; label_field: string | null };
    answer: ImagesAnswer;
  };
  flow: { params: { key: string; cluster: string }; answer: { flow: Flow | null } };
  color: { params: { key: string }; answer: null };
  in_view: { params: { key: string }; answer: { counts: Record<string, number> | null } };
  show: { params: { key: string; cluster: string | null; ids: string[] | null }; answer: null };
  rounds: { params: { key: string }; answer: RoundsAnswer };
  compare: { params: { key: string; other: string }; answer: CompareAnswer };
  rank: { params: { key: string }; answer: RankAnswer };
  show_pair: { params: { key: string; other: string; cluster: string; value: string }; answer: null };
  analyses: { params: { key: string }; answer: AnalysesAnswer };
  neighbors: { params: { key: string; image: string }; answer: NeighborsAnswer };
  show_unit: { params: { key: string; unit: number }; answer: null };
  show_node: { params: { key: string; clusters: readonly string[] }; answer: null };
  poll: { params: { key: string | null; version: number }; answer: Rows & { audits: readonly string[]; stale: boolean } };
  start: { params: { operator: string; key: string | null }; answer: null };
  start_again: { params: { key: string }; answer: null };
  resume: { params: { key: string }; answer: Rows };
  cancel: { params: { key: string }; answer: Rows };
  dismiss: { params: { key: string }; answer: Rows };
  open_made: { params: { key: string }; answer: null };
  show_edits: { params: { key: string; label_fields: readonly string[] }; answer: null };
  show_fields: { params: Record<string, never>; answer: null };
}

export type EventName = keyof Events;
export type Ask = <E extends EventName>(event: E, params: Events[E]["params"]) => Promise<Events[E]["answer"]>;
