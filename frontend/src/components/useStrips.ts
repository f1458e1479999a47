import React from "react";

import type { Cluster } from "../model/api";
import type { Picture } from "../model/shared";
import type { Board } from "../model/useBoard";

const PICTURES = 16;
const CLUSTERS = 30; // in one question; the server answers at most 60

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

  const names = JSON.stringify(visible.map((cluster) => cluster.name));
  React.useEffect(() => {
    const missing = (JSON.parse(names) as string[]).filter((name) => !requested.current.has(name));
    if (key === null) return;
    for (let at = 0; at < missing.length; at += CLUSTERS) {
      const some = missing.slice(at, at + CLUSTERS);
      some.forEach((name) => requested.current.add(name));
      ask("strips", { key, clusters: some, n: PICTURES }).then(
        (answer) => setStrips((strips) => new Map([...strips, ...Object.entries(answer.strips)])),
        (error) => {
          some.forEach((name) => requested.current.delete(name));
          fail(error);
        },
      );
    }
  }, [ask, fail, key, names, version]);
  return strips;
}
