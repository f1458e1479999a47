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

function stagesOf(view: unknown): unknown[] {
  return Array.isArray(view) ? view : [];
}

function isOurs(stage: unknown): boolean {
  const id = (stage as { _uuid?: unknown } | null)?._uuid;
  return typeof id === "string" && id.startsWith(MARK);
}
