// Groups of the App's sidebar. An open browser does not load them again when a run adds its own.
import type { SidebarGroup } from "./api";

/**
 * The groups as stored, with the paths of the browser that no stored group has in the group where they were, and without
 * the groups of deleted runs. Null if nothing would change: the browser has every stored group, with its paths.
 */
export function mergedGroups(
  stored: readonly SidebarGroup[],
  before: readonly SidebarGroup[],
  deleted: readonly string[] = [],
): SidebarGroup[] | null {
  const shown = before.filter((group) => !deleted.includes(group.name));
  const complete = stored.every((group) => {
    const there = shown.find((other) => other.name === group.name);
    return there !== undefined && group.paths.every((path) => there.paths.includes(path));
  });
  if (stored.length === 0 || complete) return shown.length < before.length ? shown : null;
  const placed = new Set(stored.flatMap((group) => group.paths));
  const rest = (name: string): string[] =>
    shown.filter((group) => group.name === name).flatMap((group) => group.paths.filter((path) => !placed.has(path)));
  const known = new Set(stored.map((group) => group.name));
  return [
    ...stored.map((group) => ({
      ...group,
      paths: [...group.paths, ...rest(group.name)],
      expanded: shown.find((other) => other.name === group.name)?.expanded ?? group.expanded,
    })),
    ...shown.filter((group) => !known.has(group.name)).map((group) => ({ ...group, paths: rest(group.name) })),
  ];
}
