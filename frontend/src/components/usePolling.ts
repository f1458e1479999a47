import React from "react";

import type { RunRow } from "../model/api";
import type { Board } from "../model/useBoard";

const BUSY = 1000;
const IDLE = 2500;

/** Polls runs in progress and edits made elsewhere; loads again what others changed. */
export function usePolling(board: Board): void {
  const latest = React.useRef(board);
  latest.current = board;
  React.useEffect(() => {
    let timer = 0;
    let stopped = false;
    const tick = async (): Promise<void> => {
      const { ask, run, runs, audits, history, load, setRuns, notify, loaded, loading, busy: editing } = latest.current;
      if (loaded && !loading && !editing && document.visibilityState === "visible") {
        try {
          const answer = await ask("poll", { key: run?.key ?? null, version: history.version });
          const now = latest.current;
          const same = !now.busy && !now.loading && now.run?.key === run?.key && now.history.version === history.version;
          const finished = answer.runs.filter((row) => row.status === "finished").map((row) => row.key);
          const isNew = finished.some((key) => runs.find((row) => row.key === key)?.status !== "finished");
          const ended = answer.runs.filter((row) => isBusy(runs.find((known) => known.key === row.key)) && !isBusy(row));
          const isGone = run !== null && !finished.includes(run.key);
          if (!same) {
            // the user edited, or opened another run, in the meantime
          } else if (isGone) {
            await load(null);
            notify({ text: `The run ${run.key} was deleted or renamed.`, kind: "info" });
          } else if (answer.stale || isNew || String(answer.audits) !== String(audits)) await load(run?.key ?? null);
          else if (JSON.stringify(answer.runs) !== JSON.stringify(runs)) setRuns(answer.runs);
          for (const row of ended) {
            const well = row.status === "finished" && row.text === "";
            notify(well ? { text: `The run ${row.key} is finished.`, kind: "success" } : { text: `The run ${row.key} was ${row.status}.`, kind: "info" });
          }
          if (isNew) await ask("show_fields", {}); // the sidebar of the App does not know the fields yet
        } catch {
          // the server restarts, or is busy: the next event of the user reports it
        }
      }
      const busy = latest.current.runs.some(isBusy);
      if (!stopped) timer = window.setTimeout(() => void tick(), busy ? BUSY : IDLE);
    };
    timer = window.setTimeout(() => void tick(), IDLE);
    return () => {
      stopped = true;
      window.clearTimeout(timer);
    };
  }, []);
}

function isBusy(row: RunRow | undefined): boolean {
  return row?.status === "running" || row?.status === "queued";
}
