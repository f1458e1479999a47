import React from "react";

import type { Edit, EditAnswer } from "../model/api";
import type { Board } from "../model/useBoard";

/** Marks clusters as reviewed without waiting for the answers to earlier edits. */
export interface Marking {
  /** Whether a cluster is being marked, under its name or the one that it gets. */
  isMarked(cluster: string): boolean;
  /** Whether the name or the mark of the open cluster is known only when an edit that was sent is answered. */
  isUnknown(): boolean;
  /** Carry out an edit that may rename or mark the open cluster. */
  edit(edit: Edit, onProblem?: (problem: string) => void): Promise<EditAnswer | null>;
  /** Mark a cluster; one whose new name is not answered yet, under the new name, unless that is refused. */
  mark(cluster: string): Promise<EditAnswer | null>;
}

export function useMarking(board: Board): Marking {
  const sent = React.useRef<readonly { edit: Edit; done: Promise<EditAnswer | null> }[]>([]);
  const marked = React.useRef(new Set<string>());
  const edit: Marking["edit"] = (edit, onProblem) => {
    const done = board.edit(edit, onProblem);
    sent.current = [...sent.current, { edit, done }];
    void done.then(() => {
      sent.current = sent.current.filter((each) => each.done !== done);
    });
    return done;
  };
  const mark = async (cluster: string): Promise<EditAnswer | null> => {
    let name = cluster;
    const naming: Promise<EditAnswer | null>[] = [];
    for (const { edit, done } of sent.current) {
      const next = nameAfter(edit, name);
      if (next !== name) naming.push(done);
      name = next;
    }
    marked.current.add(cluster).add(name);
    const refused = (await Promise.all(naming)).includes(null);
    const answer = refused ? null : await board.edit({ verb: "mark_reviewed", clusters: [name], reviewed: true });
    marked.current.delete(cluster);
    marked.current.delete(name);
    return answer;
  };
  return { isMarked: (cluster) => marked.current.has(cluster), isUnknown: () => sent.current.some(({ edit }) => UNKNOWN.includes(edit.verb)), edit, mark };
}

/** Edits after which only the answer says which name and mark the open cluster has. */
const UNKNOWN: readonly Edit["verb"][] = ["split", "undo", "redo", "mark_reviewed"];

/** Name of a cluster after an edit. */
function nameAfter(edit: Edit, cluster: string): string {
  if (edit.verb === "rename" && edit.cluster === cluster) return edit.new_name;
  if (edit.verb === "merge" && edit.clusters.includes(cluster)) return edit.into;
  return cluster;
}
