import { Alert, Box, Button, LinearProgress, Typography } from "@mui/material";
import React from "react";

import { LineChart } from "./LineChart";
import type { RunRow } from "../model/api";
import type { Board } from "../model/useBoard";

/** All runs with their progress; runs in the background show here, too. */
export function RunsPage({ board }: { board: Board }) {
  const start = (operator: string, key: string | null): void => {
    board.ask("start", { operator, key }).catch(board.fail);
  };
  const change = (event: "cancel" | "resume", key: string): void => {
    board.ask(event, { key }).then((answer) => board.setRuns(answer.runs), board.fail);
  };
  const actions = (row: RunRow): [string, string, () => void][] => {
    const { key, status } = row;
    if (status === "running" || status === "queued") return row.cancelling ? [] : [["Cancel", "cancel", () => change("cancel", key)]];
    const found: [string, string, () => void][] = [];
    if (status === "finished") {
      found.push(["Open", "open", () => void board.load(key)]);
      found.push(["Refine", "refine", () => start("refine_clustering", key)]);
      found.push(["Rename", "rename", () => start("rename_clustering_run", key)]);
    }
    if (row.resumable) found.push(["Resume", "resume", () => change("resume", key)]);
    if (row.again) found.push(["Edit and run again", "again", () => void board.ask("start_again", { key }).catch(board.fail)]);
    found.push(["Delete", "delete", () => start("delete_clustering_run", key)]);
    return found;
  };
  return (
    <Box sx={{ p: 1, overflowY: "auto", flex: 1 }} data-cy="dc-runs">
      <Button variant="contained" size="small" onClick={() => start("cluster_images", null)} data-cy="dc-start">
        New run
      </Button>
      {board.runs.map((row) => (
        <Row key={row.key} row={row} actions={actions(row)} />
      ))}
    </Box>
  );
}

function Row({ row, actions }: { row: RunRow; actions: readonly [string, string, () => void][] }) {
  const busy = row.status === "running" || row.status === "queued";
  const bad = row.status === "failed" || row.status === "interrupted" || (row.status === "finished" && row.text !== "");
  return (
    <Box sx={{ py: 1, borderBottom: "1px solid", borderColor: "divider" }} data-cy={`dc-run-${row.key}`}>
      <Box sx={{ display: "flex", gap: 1, alignItems: "center", flexWrap: "wrap" }}>
        <Typography sx={{ fontWeight: 600 }}>{row.key}</Typography>
        <Typography variant="body2" color="text.secondary" sx={{ flex: 1 }}>
          {[row.method, row.status, bad ? "" : row.text].filter(Boolean).join(" · ")}
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
      {busy && (
        <LinearProgress variant={row.fraction === null ? "indeterminate" : "determinate"} value={100 * (row.fraction ?? 0)} />
      )}
      {row.charts.length > 0 && (
        <Box sx={{ display: "grid", gap: 2, gridTemplateColumns: "repeat(auto-fill, minmax(220px, 1fr))", mt: 1 }} data-cy={`dc-live-${row.key}`}>
          {row.charts.map((chart) => (
            <LineChart key={chart.title} {...chart} />
          ))}
        </Box>
      )}
    </Box>
  );
}
