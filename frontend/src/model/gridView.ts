// What the panel shows in the App's grid, and the user's view without it.

/** Beginning of the id of a stage that the panel has added to the view; `answers/views.py` has it, too. */
const MARK = "deepcluster";

/** Whether the grid shows something that the panel has put there. */
export function isPut(view: unknown): boolean {
  return stagesOf(view).some(isOurs);
}

/** Whether the user's view, without the panel's stages, shows everything. */
export function isWhole(view: unknown): boolean {
  return stagesOf(view).every(isOurs);
}

/** Name of the cluster that the panel has put into the grid; null if it shows other images. */
export function clusterShown(view: unknown, run: { key: string; label_path: string } | null): string | null {
  if (run === null) return null;
  for (const stage of stagesOf(view).filter(isOurs)) {
    const filter = Object.fromEntries((stage as { kwargs?: [string, unknown][] }).kwargs ?? [])["filter"] as Filter;
    const inObjects = Array.isArray(filter?.$in) && filter.$in[0] === `$$this.${run.key}` ? filter.$in[1] : null;
    const names = inObjects ?? (filter?.[run.label_path] as { $in?: unknown } | undefined)?.$in;
    if (Array.isArray(names) && names.length === 1) return String(names[0]);
  }
  return null;
}

/** Filter of `Run.cluster_view`: of samples, or of the objects in them. */
type Filter = { $in?: [string, string[]]; [path: string]: unknown } | undefined;

function stagesOf(view: unknown): unknown[] {
  return Array.isArray(view) ? view : [];
}

function isOurs(stage: unknown): boolean {
  const id = (stage as { _uuid?: unknown } | null)?._uuid;
  return typeof id === "string" && id.startsWith(MARK);
}
