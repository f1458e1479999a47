import { view as userView } from "@fiftyone/state";
import React from "react";
import { useRecoilValue } from "recoil";

import { successor } from "../model/clusters";
import { clusterShown } from "../model/gridView";
import type { Board } from "../model/useBoard";

/**
 * Shows a cluster that is in the grid under its new name after an edit, also one by others: its view has the old name,
 * which no image has any more. A view that the user has asked for in the meantime is not replaced.
 *
 * @param isShowing whether the grid waits for a view
 */
export function useFollowGrid({ ask, clusters, fail, run }: Board, isShowing: () => boolean): void {
  const shown = clusterShown(useRecoilValue(userView), run);
  const key = run?.key ?? null;
  const numbers = React.useRef({ key, known: new Map<string, readonly number[]>() });
  React.useEffect(() => {
    if (numbers.current.key !== key) numbers.current = { key, known: new Map() };
    const { known } = numbers.current;
    for (const cluster of clusters) known.set(cluster.name, cluster.numbers);
    const before = shown === null ? undefined : known.get(shown);
    if (key === null || before === undefined || isShowing() || clusters.some(({ name }) => name === shown)) return;
    ask("show", { key, cluster: successor(clusters, before)?.name ?? null, ids: null }).catch(fail);
  }, [ask, clusters, fail, isShowing, key, shown]);
}
