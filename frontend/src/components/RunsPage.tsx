import { Box, Button, LinearProgress, Typography } from "@mui/material";
import React from "react";

import { LineChart } from "./LineChart";
import type { RunRow } from "../model/api";
import type { Board } from "../model/useBoard";

/** All runs with their progress; runs in the background show here, too. */
export function RunsPage({ board }: { board: Board }) {
  const start = (operator: string, key: string | null): void => {
    board.ask("start", { operator, key }).catch(board.fail);
  };
  return (
    <Box sx={{ p: 1, overflowY: "auto", flex: 1 }} data-cy="dc-runs">
      <Button variant="contained" size="small" onClick={() => start("cluster_images", null)} data-cy="dc-start">
        New run
      </Button>
      {board.runs.map((row) => (
        <Row key={row.key} row={row} onStart={start} onLoad={() => void board.load(row.key)} />
      ))}
    </Box>
  );
}

function Row({ row, onStart, onLoad }: { row: RunRow; onStart(operator: string, key: string): void; onLoad(): void }) {
  const busy = row.status === "running" || row.status === "queued";
  return (
    <Box sx={{ py: 1, borderBottom: "1px solid", borderColor: "divider" }} data-cy={`dc-run-${row.key}`}>
      <Box sx={{ display: "flex", gap: 1, alignItems: "center", flexWrap: "wrap" }}>
        <Typography sx={{ fontWeight: 600 }}>{row.key}</Typography>
        <Typography variant="body2" color="text.secondary" sx={{ flex: 1 }}>
          {row.method} · {row.status}
          {row.text ? ` · ${row.text}` : ""}
        </Typography>
        {row.status === "finished" && (
          <Button size="small" onClick={onLoad}>
            Open
          </Button>
        )}
        {busy && (
          <Button size="small" color="warning" onClick={() => onStart("cancel_clustering", row.key)} data-cy={`dc-cancel-${row.key}`}>
            Cancel
          </Button>
        )}
        {row.status === "interrupted" && (
          <Button size="small" onClick={() => onStart("resume_clustering", row.key)}>
            Resume
          </Button>
        )}
        {row.status === "finished" && (
          <Button size="small" onClick={() => onStart("refine_clustering", row.key)} data-cy={`dc-refine-${row.key}`}>
            Refine
          </Button>
        )}
        {row.status === "finished" && (
          <Button size="small" onClick={() => onStart("rename_clustering_run", row.key)}>
            Rename
          </Button>
        )}
        {!busy && (
          <Button size="small" onClick={() => onStart("delete_clustering_run", row.key)}>
            Delete
          </Button>
        )}
      </Box>
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
