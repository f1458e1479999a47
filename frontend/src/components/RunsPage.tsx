import { Box, Button } from "@mui/material";
import React from "react";

import { JobLine, JobRows, isBusy, type Action } from "./JobRows";
import { LineChart } from "./LineChart";
import type { RunRow } from "../model/api";
import type { Board } from "../model/useBoard";

/** All runs and other jobs with their progress; those in the background show here, too. */
export function RunsPage({ board, onTab }: { board: Board; onTab(tab: "clusters" | "audit" | "analyses"): void }) {
  const start = (operator: string, key: string | null): void => {
    board.ask("start", { operator, key }).catch(board.fail);
  };
  const change = (event: "cancel" | "resume", key: string): void => {
    board.ask(event, { key }).then(board.setRows, board.fail);
  };
  const actions = (row: RunRow): Action[] => {
    const { key, status } = row;
    if (isBusy(row)) return row.cancelling ? [] : [["Cancel", "cancel", () => change("cancel", key)]];
    const found: Action[] = [];
    if (status === "finished") {
      found.push(["Open", "open", () => void board.load(key).then(() => onTab("clusters"))]);
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
      <JobRows board={board} jobs={board.jobs} onTab={onTab} />
      {board.runs.map((row) => {
        const bad = row.status === "failed" || row.status === "interrupted" || (row.status === "finished" && row.text !== "");
        return (
          <JobLine key={row.key} row={row} title={row.key} facts={[row.method, row.status]} bad={bad} actions={actions(row)}>
            {row.charts.length > 0 && (
              <Box sx={{ display: "grid", gap: 2, gridTemplateColumns: "repeat(auto-fill, minmax(220px, 1fr))", mt: 1 }} data-cy={`dc-live-${row.key}`}>
                {row.charts.map((chart) => (
                  <LineChart key={chart.title} {...chart} />
                ))}
              </Box>
            )}
          </JobLine>
        );
      })}
    </Box>
  );
}
