// Keyboard commands of the board. A key has a command in the overview, in a cluster, or in both.

export type Command =
  | "open"
  | "back"
  | "move"
  | "reject"
  | "name"
  | "split"
  | "join"
  | "reviewed"
  | "unreviewed"
  | "undo"
  | "redo"
  | "toggle"
  | "select_all"
  | "show_in_grid"
  | "similar"
  | "history"
  | "neighbors"
  | "next"
  | "previous"
  | "order"
  | "commit"
  | "search"
  | "help";

export type Page = "overview" | "cluster";

export interface Binding<Name, Where> {
  readonly key: string;
  readonly shown: string;
  readonly command: Name;
  readonly pages: readonly Where[];
  readonly text: string;
  readonly ctrl?: boolean;
  readonly shift?: boolean;
}

const both = ["overview", "cluster"] as const;

export const BINDINGS: readonly Binding<Command, Page>[] = [
  { key: "Enter", shown: "Enter", command: "open", pages: ["overview"], text: "Open the cluster" },
  { key: "Enter", shown: "Enter", command: "reviewed", pages: ["cluster"], text: "Mark as reviewed and open the next" },
  { key: "Escape", shown: "Esc", command: "back", pages: ["cluster"], text: "Clear the selection, or back to the overview" },
  { key: " ", shown: "Space", command: "toggle", pages: ["cluster"], text: "Select the image, or remove it from the selection" },
  { key: "a", shown: "Ctrl+A", command: "select_all", pages: ["cluster"], ctrl: true, text: "Select all images of the cluster" },
  { key: "m", shown: "M", command: "move", pages: both, text: "Move the selected images, here or in the App's grid, to another cluster" },
  { key: "x", shown: "X", command: "reject", pages: ["cluster"], text: "Reject the selected images: they belong to no cluster" },
  { key: "n", shown: "N", command: "name", pages: both, text: "Name the cluster" },
  { key: "s", shown: "S", command: "split", pages: both, text: "Split the cluster" },
  { key: "j", shown: "J", command: "join", pages: both, text: "Join with the nearest cluster" },
  { key: "r", shown: "R", command: "unreviewed", pages: both, text: "Mark as reviewed, or not reviewed" },
  { key: "f", shown: "F", command: "similar", pages: ["cluster"], text: "Find images similar to the selected ones, in this and the nearest clusters" },
  { key: "h", shown: "H", command: "history", pages: ["cluster"], text: "Where the images of the cluster were in every round" },
  { key: "b", shown: "B", command: "neighbors", pages: ["cluster"], text: "Show the nearest clusters" },
  { key: "]", shown: "]", command: "next", pages: ["cluster"], text: "Next cluster" },
  { key: "[", shown: "[", command: "previous", pages: ["cluster"], text: "Previous cluster" },
  { key: "o", shown: "O", command: "order", pages: both, text: "Next order of the images; in the overview, largest or most mixed clusters first" },
  { key: "g", shown: "G", command: "show_in_grid", pages: both, text: "Show the cluster, or the selected images, in the grid, colored by the run" },
  { key: "l", shown: "L", command: "commit", pages: both, text: "Apply the names to a label field" },
  { key: "/", shown: "/", command: "search", pages: ["overview"], text: "Search clusters" },
  { key: "z", shown: "Ctrl+Z", command: "undo", pages: both, ctrl: true, text: "Undo" },
  { key: "z", shown: "Ctrl+Shift+Z", command: "redo", pages: both, ctrl: true, shift: true, text: "Redo" },
  { key: "y", shown: "Ctrl+Y", command: "redo", pages: both, ctrl: true, text: "Redo" },
  { key: "?", shown: "?", command: "help", pages: both, text: "Show these keys" },
];

/** Keys that move the focus, for the list of keys. */
export const MOVES: readonly { shown: string; text: string; pages: readonly Page[] }[] = [
  { shown: "Arrows", pages: both, text: "Move" },
  { shown: "Home, End", pages: both, text: "Move to the first, to the last" },
  { shown: "Page up, Page down", pages: both, text: "Move by as many rows as are shown" },
  { shown: "Shift with these", pages: ["cluster"], text: "Select the images on the way" },
];

export interface Pressed {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
}

/** Command of a pressed key on a page; null if it has none. */
export function commandOf(pressed: Pressed, page: Page): Command | null {
  return matching(BINDINGS, pressed, page);
}

/** Command of the first binding that a pressed key matches on a page. */
export function matching<Name, Where>(bindings: readonly Binding<Name, Where>[], pressed: Pressed, page: Where): Name | null {
  // Ctrl with Alt is AltGr, which some keyboards need for [ and ]; letters with Alt belong to the browser
  const ctrl = pressed.metaKey || (pressed.ctrlKey && !pressed.altKey);
  if (pressed.altKey && !["[", "]", "/", "?"].includes(pressed.key)) return null;
  const key = pressed.key.length === 1 ? pressed.key.toLowerCase() : pressed.key;
  const binding = bindings.find(
    (binding) =>
      binding.pages.includes(page) &&
      binding.key === key &&
      (binding.ctrl ?? false) === ctrl &&
      (!ctrl || (binding.shift ?? false) === pressed.shiftKey),
  );
  return binding?.command ?? null;
}
