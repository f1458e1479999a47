import React from "react";

import type { Edit, EditAnswer } from "../model/api";
import type { Board } from "../model/useBoard";

/** Marks clusters as reviewed without waiting for the answers to earlier edits. */
export interface Marking {
  /** Whether a cluster is being marked, under its name or the one that it gets. */
  isMarked(cluster: string): boolean;
  /** Whether the answer to a split is missing: which part keeps the name is not known yet. */
  splits(): boolean;
  /** Carry out an edit that may rename the open cluster. */
  edit(edit: Edit, onProblem: (problem: string) => void): Promise<EditAnswer | null>;
  /** Mark a cluster; one whose new name is not answered yet, under the new name, unless that is refused. */
  mark(cluster: string): Promise<EditAnswer | null>;
}

export function useMarking(board: Board): Marking {
  const sent = React.useRef<{ edit: Edit; done: Promise<EditAnswer | null> } | null>(null);
  const marked = React.useRef(new Set<string>());
  const edit: Marking["edit"] = (edit, onProblem) => {
    const done = board.edit(edit, onProblem);
    sent.current = { edit, done };
    void done.then(() => {
      if (sent.current?.done === done) sent.current = null;
    });
    return done;
  };
  const mark = async (cluster: string): Promise<EditAnswer | null> => {
    const before = sent.current;
    const name = before === null ? cluster : nameAfter(before.edit, cluster);
    marked.current.add(cluster).add(name);
    const refused = before !== null && name !== cluster && (await before.done) === null;
    const answer = refused ? null : await board.edit({ verb: "mark_reviewed", clusters: [name], reviewed: true });
    marked.current.delete(cluster);
    marked.current.delete(name);
    return answer;
  };
  return { isMarked: (cluster) => marked.current.has(cluster), splits: () => sent.current?.edit.verb === "split", edit, mark };
}

/** Name of a cluster after an edit. */
function nameAfter(edit: Edit, cluster: string): string {
  if (edit.verb === "rename" && edit.cluster === cluster) return edit.new_name;
  if (edit.verb === "merge" && edit.clusters.includes(cluster)) return edit.into;
  return cluster;
}
