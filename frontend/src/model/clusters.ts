// Order, search and steps through the clusters; all in the browser, as all clusters are loaded.
import type { Cluster } from "./api";

export type ClusterOrder =
  | "size"
  | "name"
  | "worst"
  | "uncertain"
  | "confidence"
  | "distance"
  | "changes"
  | "stability"
  | "majority"
  | "nearest"
  | "majority_share";

export const CLUSTER_ORDERS: Record<ClusterOrder, string> = {
  size: "Largest first",
  name: "Name",
  worst: "Most mixed first",
  uncertain: "Most uncertain first",
  confidence: "Lowest confidence",
  distance: "Largest mean distance",
  changes: "Most changes of the cluster",
  stability: "Least stable in the last rounds",
  majority: "Majority class",
  nearest: "Nearest cluster",
  majority_share: "Smallest share of the majority class",
};

/** Value that sorts ascending; null values go last. */
function rank(cluster: Cluster, order: ClusterOrder, nearest?: ReadonlyMap<string, string>): number | string | null {
  switch (order) {
    case "size":
      return -cluster.size;
    case "name":
      return cluster.name;
    case "uncertain":
      return -cluster.uncertain;
    case "confidence":
      return cluster.confidence;
    case "distance":
      return cluster.distance === null ? null : -cluster.distance;
    case "changes":
      return cluster.changes === null ? null : -cluster.changes;
    case "stability":
      return cluster.stability;
    case "majority":
      return cluster.majority;
    case "nearest":
      return nearest?.get(cluster.name) ?? null;
    case "majority_share":
      return cluster.majority_share;
    case "worst":
      return cluster.majority_share ?? cluster.confidence ?? (cluster.distance === null ? null : -cluster.distance);
  }
}

const byName = new Intl.Collator("en", { numeric: true });

function compare(left: number | string | null, right: number | string | null): number {
  if (left === null || right === null) return Number(left === null) - Number(right === null);
  if (typeof left === "number" && typeof right === "number") return left - right;
  return byName.compare(String(left), String(right));
}

export interface Filter {
  readonly search: string;
  readonly only: "all" | "unreviewed" | "reviewed";
}

export const ALL: Filter = { search: "", only: "all" };

/** Clusters that match, in order; the images without cluster come last. `nearest` has the nearest cluster of each. */
export function arrange(
  clusters: readonly Cluster[],
  order: ClusterOrder,
  filter: Filter,
  nearest?: ReadonlyMap<string, string>,
): Cluster[] {
  const words = filter.search.trim().toLowerCase();
  const matches = (cluster: Cluster): boolean =>
    (filter.only === "all" || cluster.reviewed === (filter.only === "reviewed")) &&
    (words === "" ||
      cluster.name.toLowerCase().includes(words) ||
      cluster.key_words.some((word) => word.toLowerCase().includes(words)));
  return clusters
    .filter(matches)
    .sort(
      (a, b) =>
        Number(a.noise) - Number(b.noise) || compare(rank(a, order, nearest), rank(b, order, nearest)) || byName.compare(a.name, b.name),
    );
}

/** The first of some clusters that is not reviewed, other than `besides`; null if all are. */
export function nextUnreviewed(clusters: readonly Cluster[], besides: string | null): string | null {
  return clusters.find((cluster) => !cluster.reviewed && !cluster.noise && cluster.name !== besides)?.name ?? null;
}

export interface Progress {
  readonly clusters: number;
  readonly clustersReviewed: number;
  readonly images: number;
  readonly imagesReviewed: number;
}

/** How much was reviewed; images in no cluster do not count. */
export function progressOf(clusters: readonly Cluster[]): Progress {
  const counted = clusters.filter((cluster) => !cluster.noise);
  const reviewed = counted.filter((cluster) => cluster.reviewed);
  const sum = (some: readonly Cluster[]): number => some.reduce((total, cluster) => total + cluster.size, 0);
  return {
    clusters: counted.length,
    clustersReviewed: reviewed.length,
    images: sum(counted),
    imagesReviewed: sum(reviewed),
  };
}

type Nearest = Readonly<Record<string, readonly number[]>>;

/** Name of the cluster nearest to another, as the run placed them; parts of one cluster of the run come first. */
export function nearestTo(cluster: Cluster, clusters: readonly Cluster[], nearest: Nearest): string | null {
  return neighborsOf(cluster, owners(clusters), nearest, 1)[0]?.name ?? null;
}

/** The clusters nearest to another, nearest first. */
export function neighborsOf(cluster: Cluster, owners: Owners, nearest: Nearest, n: number): Cluster[] {
  const main = cluster.numbers[0];
  if (main === undefined) return [];
  const found: Cluster[] = [];
  for (const number of [main, ...(nearest[String(main)] ?? [])]) {
    if (found.length >= n) break;
    found.push(...(owners.get(number) ?? []).filter((other) => other.name !== cluster.name));
  }
  return found.slice(0, n);
}

/** Clusters by the number of the run that most of their images have, largest first. */
export type Owners = ReadonlyMap<number, readonly Cluster[]>;

export function owners(clusters: readonly Cluster[]): Owners {
  const found = new Map<number, Cluster[]>();
  for (const cluster of arrange(clusters, "size", ALL)) {
    const number = cluster.numbers[0];
    if (number !== undefined && !cluster.noise) found.set(number, [...(found.get(number) ?? []), cluster]);
  }
  return found;
}

/** Name of each cluster -> name of the nearest one. */
export function nearestNames(clusters: readonly Cluster[], nearest: Nearest): Map<string, string> {
  const known = owners(clusters);
  const found = new Map<string, string>();
  for (const cluster of clusters) {
    const near = neighborsOf(cluster, known, nearest, 1)[0];
    if (near && !cluster.noise) found.set(cluster.name, near.name);
  }
  return found;
}

/** The clusters after an edit: changed ones replaced or added, others removed. */
export function withChanges(
  clusters: readonly Cluster[],
  changed: readonly Cluster[],
  gone: readonly string[],
): Cluster[] {
  const names = new Set([...changed.map((cluster) => cluster.name), ...gone]);
  return [...clusters.filter((cluster) => !names.has(cluster.name)), ...changed];
}

/**
 * The open cluster; if it is gone after an edit, the largest of the clusters that the edit changed: its new name, the
 * cluster it was joined with, or the one that it was split from. Null if there is none.
 */
export function follow(
  clusters: readonly Cluster[],
  opened: string | null,
  touched: ReadonlySet<string> | null,
): Cluster | null {
  if (opened === null) return null;
  const there = clusters.find((cluster) => cluster.name === opened);
  if (there) return there;
  if (touched === null || !touched.has(opened)) return null;
  const changed = clusters.filter((cluster) => touched.has(cluster.name) && !cluster.noise);
  return arrange(changed, "size", ALL)[0] ?? null;
}

/** The largest cluster with images of a cluster that is gone, of which only the numbers in the run are known. */
export function successor(clusters: readonly Cluster[], numbers: readonly number[]): Cluster | null {
  const main = numbers[0];
  const parts = clusters.filter((cluster) => !cluster.noise && main !== undefined && cluster.numbers.includes(main));
  return arrange(parts, "size", ALL)[0] ?? null;
}
