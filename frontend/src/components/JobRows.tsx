import { Alert, Box, Button, LinearProgress, Typography } from "@mui/material";
import React from "react";

import type { JobRow, RunRow } from "../model/api";
import type { Board } from "../model/useBoard";

/** Label, name for tests, and what a click does. */
export type Action = readonly [string, string, () => void];

interface Props {
  board: Board;
  jobs: readonly JobRow[];
  onTab?(tab: "audit" | "analyses"): void;
}

/** Analyses, audits and imports: active ones can be cancelled, ended ones show their result. */
export function JobRows({ board, jobs, onTab }: Props) {
  const change = (event: "cancel" | "dismiss", key: string): void => {
    board.ask(event, { key }).then(board.setRows, board.fail);
  };
  const show = (job: JobRow): void => {
    if (job.verb === "audit_labels") onTab?.("audit");
    else void board.load(job.about).then(() => onTab?.("analyses"));
  };
  const actions = (job: JobRow): Action[] => {
    const { key } = job;
    if (isBusy(job)) return job.cancelling ? [] : [["Cancel", "cancel", () => change("cancel", key)]];
    const found: Action[] = [];
    if (job.made !== "") found.push(["Open", "open", () => void board.ask("open_made", { key }).catch(board.fail)]);
    if (job.status === "finished" && job.about !== "" && onTab) found.push(["Show", "show", () => show(job)]);
    if (job.again) found.push(["Edit and run again", "again", () => void board.ask("start_again", { key }).catch(board.fail)]);
    found.push(["Dismiss", "dismiss", () => change("dismiss", key)]);
    return found;
  };
  return (
    <>
      {jobs.map((job) => (
        <JobLine key={job.key} row={job} title={job.method} facts={[job.about, job.status]} bad={job.status === "failed"} actions={actions(job)} />
      ))}
    </>
  );
}

interface LineProps {
  row: RunRow | JobRow;
  title: string;
  facts: readonly string[];
  /** Whether the text is a problem. */
  bad: boolean;
  actions: readonly Action[];
  children?: React.ReactNode;
}

/** One run or job: what it is, its progress, what can be done with it. */
export function JobLine({ row, title, facts, bad, actions, children }: LineProps) {
  return (
    <Box sx={{ py: 1, borderBottom: "1px solid", borderColor: "divider" }} data-cy={`dc-run-${row.key}`}>
      <Box sx={{ display: "flex", gap: 1, alignItems: "center", flexWrap: "wrap" }}>
        <Typography sx={{ fontWeight: 600 }}>{title}</Typography>
        <Typography variant="body2" color="text.secondary" sx={{ flex: 1, whiteSpace: "pre-line", overflowWrap: "anywhere" }}>
          {[...facts, bad ? "" : row.text].filter(Boolean).join(" · ")}
        </Typography>
        {actions.map(([label, name, act]) => (
          <Button key={name} size="small" color={name === "cancel" ? "warning" : "primary"} onClick={act} data-cy={`dc-${name}-${row.key}`}>
            {label}
          </Button>
        ))}
      </Box>
      {bad && row.text !== "" && (
        <Alert severity={row.status === "failed" ? "error" : "warning"} sx={{ mt: 0.5, overflowWrap: "anywhere" }} data-cy={`dc-why-${row.key}`}>
          {row.text}
        </Alert>
      )}
      {isBusy(row) && (
        <LinearProgress variant={row.fraction === null ? "indeterminate" : "determinate"} value={100 * (row.fraction ?? 0)} />
      )}
      {children}
    </Box>
  );
}

export function isBusy(row: RunRow | JobRow | undefined): boolean {
  return row?.status === "running" || row?.status === "queued";
}
