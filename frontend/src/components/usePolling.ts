import React from "react";

import type { JobRow, RunRow } from "../model/api";
import type { Board, Message } from "../model/useBoard";
import { isBusy } from "./JobRows";

const BUSY = 1000;
const IDLE = 2500;

/** Polls runs and jobs in progress, and edits made elsewhere; loads again what others changed. */
export function usePolling(board: Board): void {
  const latest = React.useRef(board);
  latest.current = board;
  React.useEffect(() => {
    let timer = 0;
    let stopped = false;
    const tick = async (): Promise<void> => {
      const { ask, run, runs, jobs, audits, history, load, setRows, notify, loaded, loading, busy: editing } = latest.current;
      if (loaded && !loading && !editing && document.visibilityState === "visible") {
        try {
          const answer = await ask("poll", { key: run?.key ?? null, version: history.version });
          const now = latest.current;
          const same = !now.busy && !now.loading && now.run?.key === run?.key && now.history.version === history.version;
          const finished = answer.runs.filter((row) => row.status === "finished").map((row) => row.key);
          const isNew = finished.some((key) => runs.find((row) => row.key === key)?.status !== "finished");
          const ended = [...endedRuns(runs, answer.runs), ...endedJobs(jobs, answer.jobs)];
          const wrote = ended.some((row) => row.status === "finished"); // a job may add fields, images, or key words of clusters
          const isGone = run !== null && !finished.includes(run.key);
          if (!same) {
            // the user edited, or opened another run, in the meantime
          } else if (isGone) {
            await load(null);
            notify({ text: `The run ${run.key} was deleted or renamed.`, kind: "info" });
          } else if (answer.stale || isNew || wrote || String(answer.audits) !== String(audits)) await load(run?.key ?? null);
          else if (JSON.stringify([answer.runs, answer.jobs]) !== JSON.stringify([runs, jobs])) setRows(answer);
          for (const row of ended) notify(endOf(row));
          if (isNew || wrote) await ask("show_fields", {}); // the sidebar of the App does not know the fields yet
          else if (same && answer.stale && run !== null) await ask("show_edits", { key: run.key, label_fields: run.label_fields }); // nor does the grid know what others have edited
        } catch {
          // the server restarts, or is busy: the next event of the user reports it
        }
      }
      const busy = latest.current.runs.some(isBusy) || latest.current.jobs.some(isBusy);
      if (!stopped) timer = window.setTimeout(() => void tick(), busy ? BUSY : IDLE);
    };
    timer = window.setTimeout(() => void tick(), IDLE);
    return () => {
      stopped = true;
      window.clearTimeout(timer);
    };
  }, []);
}

function endedRuns(before: readonly RunRow[], now: readonly RunRow[]): RunRow[] {
  return now.filter((row) => isBusy(before.find((known) => known.key === row.key)) && !isBusy(row));
}

/** Jobs that have ended since, also if they were never seen running: an analysis may take a second. */
function endedJobs(before: readonly JobRow[], now: readonly JobRow[]): JobRow[] {
  const over = (job: JobRow): string => (isBusy(job) ? "" : `${job.key} ${job.started}`);
  const known = new Set(before.map(over));
  return now.filter((job) => !isBusy(job) && !known.has(over(job)));
}

/** How a run or other job has ended. */
export function endOf(row: RunRow | JobRow): Message {
  const isRun = "charts" in row;
  const what = isRun ? `The run ${row.key}` : row.method;
  switch (row.status) {
    case "finished":
      if (!isRun) return { text: row.text, kind: "success" };
      if (row.text === "") return { text: `${what} is finished.`, kind: "success" };
      return { text: `${what} is as it was before: ${row.text}`, kind: "error" }; // its replacement failed
    case "failed":
      return { text: `${what} failed${because(row)}`, kind: "error" };
    case "interrupted":
      return { text: `${what} was interrupted${because(row)}`, kind: "warning" };
    default:
      return { text: `${what} was ${row.status}.`, kind: "info" };
  }
}

function because({ text }: RunRow | JobRow): string {
  return text === "" ? "." : `: ${text}`;
}
