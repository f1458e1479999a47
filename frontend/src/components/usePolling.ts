import React from "react";

import type { Board } from "../model/useBoard";

const BUSY = 1000;
const IDLE = 4000;

/** Ask for runs in progress, and for edits made elsewhere; loads again what others changed. */
export function usePolling(board: Board): void {
  const latest = React.useRef(board);
  latest.current = board;
  React.useEffect(() => {
    let timer = 0;
    let stopped = false;
    const tick = async (): Promise<void> => {
      const { ask, run, runs, history, load, setRuns, say, loaded, loading, busy: editing } = latest.current;
      if (loaded && !loading && !editing && document.visibilityState === "visible") {
        try {
          const answer = await ask("poll", { key: run?.key ?? null, version: history.version });
          const now = latest.current;
          const same = !now.busy && !now.loading && now.run?.key === run?.key && now.history.version === history.version;
          const finished = answer.runs.filter((row) => row.status === "finished").map((row) => row.key);
          const isNew = finished.some((key) => runs.find((row) => row.key === key)?.status !== "finished");
          const isGone = run !== null && !finished.includes(run.key);
          if (!same) {
            // the user edited, or opened another run, in the meantime
          } else if (isGone) {
            await load(null);
            say({ text: `The run ${run.key} was deleted or renamed.`, kind: "info" });
          } else if (answer.stale || (isNew && run === null)) await load(run?.key ?? null);
          else if (JSON.stringify(answer.runs) !== JSON.stringify(runs)) setRuns(answer.runs);
        } catch {
          // the server restarts, or is busy: the next event of the user says so
        }
      }
      const busy = latest.current.runs.some((row) => row.status === "running" || row.status === "queued");
      if (!stopped) timer = window.setTimeout(() => void tick(), busy ? BUSY : IDLE);
    };
    timer = window.setTimeout(() => void tick(), IDLE);
    return () => {
      stopped = true;
      window.clearTimeout(timer);
    };
  }, []);
}
