// Which images are selected: single images, ranges, or all images of the cluster except some.
// The position of an image in the shown order is its index; images that are not loaded yet have no id.
import type { Chosen } from "./api";

export interface Selection {
  /** Ids selected one by one; with `all`, the ids that are left out. */
  readonly ids: ReadonlySet<string>;
  readonly all: boolean;
  /** Index from which Shift extends. */
  readonly anchor: number;
  /** Index of the image with the keyboard's focus. */
  readonly focus: number;
}

export const NOTHING: Selection = { ids: new Set(), all: false, anchor: 0, focus: 0 };

export function isSelected(selection: Selection, id: string): boolean {
  return selection.all !== selection.ids.has(id);
}

export function countSelected(selection: Selection, total: number): number {
  return selection.all ? Math.max(0, total - selection.ids.size) : selection.ids.size;
}

export function selectAll(selection: Selection): Selection {
  return { ...selection, ids: new Set(), all: true };
}

export function clearSelection(selection: Selection): Selection {
  return { ...selection, ids: new Set(), all: false };
}

export function toggle(selection: Selection, id: string, index: number): Selection {
  const ids = new Set(selection.ids);
  if (!ids.delete(id)) ids.add(id);
  return { ...selection, ids, anchor: index, focus: index };
}

/** Select exactly the images from the anchor to `index`; `idAt` is undefined for images that are not loaded. */
export function extendTo(selection: Selection, index: number, idAt: (index: number) => string | undefined): Selection {
  const ids = new Set<string>();
  const [first, last] = [Math.min(selection.anchor, index), Math.max(selection.anchor, index)];
  for (let at = first; at <= last; at++) {
    const id = idAt(at);
    if (id !== undefined) ids.add(id);
  }
  return { ids, all: false, anchor: selection.anchor, focus: index };
}

/** Add images to the selection, as a rectangle drawn with the mouse does. */
export function add(selection: Selection, added: Iterable<string>): Selection {
  const ids = new Set(selection.ids);
  for (const id of added) {
    if (selection.all) ids.delete(id);
    else ids.add(id);
  }
  return { ...selection, ids };
}

export function chosen(selection: Selection, cluster: string): Chosen {
  return selection.all ? { cluster, except: [...selection.ids] } : { ids: [...selection.ids] };
}

export type Arrow = "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown" | "Home" | "End" | "PageUp" | "PageDown";

/** Index that the focus moves to; it stays within the images. */
export function step(index: number, key: Arrow, columns: number, rowsAPage: number, total: number): number {
  const by: Record<Arrow, number> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
    PageUp: -columns * rowsAPage,
    PageDown: columns * rowsAPage,
    Home: -index,
    End: total - 1 - index,
  };
  const next = index + by[key];
  if (next < 0) return key === "ArrowUp" ? index : 0;
  if (next >= total) return key === "ArrowDown" && Math.floor(index / columns) === Math.floor((total - 1) / columns) ? index : Math.max(0, total - 1);
  return next;
}

export function isArrow(key: string): key is Arrow {
  return ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"].includes(key);
}
