import React from "react";

import type { Cluster, Picture } from "../model/api";
import type { Board } from "../model/useBoard";

const PICTURES = 16;

/** Images nearest to the center of the visible clusters; loaded once for each version of a cluster. */
export function useStrips(board: Board, visible: readonly Cluster[]): ReadonlyMap<string, readonly Picture[]> {
  const [strips, setStrips] = React.useState<ReadonlyMap<string, readonly Picture[]>>(new Map());
  const requested = React.useRef(new Set<string>());
  const { ask, fail, touched, version } = board;
  const key = board.run?.key ?? null;

  React.useEffect(() => {
    if (touched === null) requested.current.clear();
    else touched.forEach((name) => requested.current.delete(name));
  }, [touched, version]);
  React.useEffect(() => {
    requested.current.clear();
    setStrips(new Map());
  }, [key]);

  const names = visible.map((cluster) => cluster.name).join("\n");
  React.useEffect(() => {
    const missing = names.split("\n").filter((name) => name !== "" && !requested.current.has(name));
    if (key === null || missing.length === 0) return;
    missing.forEach((name) => requested.current.add(name));
    ask("strips", { key, clusters: missing, n: PICTURES }).then(
      (answer) => setStrips((strips) => new Map([...strips, ...Object.entries(answer.strips)])),
      (error) => {
        missing.forEach((name) => requested.current.delete(name));
        fail(error);
      },
    );
  }, [ask, fail, key, names, version]);
  return strips;
}
