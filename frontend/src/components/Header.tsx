import { Box, Button, LinearProgress, MenuItem, Select, Tooltip, Typography } from "@mui/material";
import React from "react";

import type { Board } from "../model/useBoard";

/** The run, the progress of the review, undo and redo. */
export function Header({ board }: { board: Board }) {
  const { progress, history, run } = board;
  const share = progress.images > 0 ? (100 * progress.imagesReviewed) / progress.images : 0;
  const unit = run?.unit === "object" ? "objects" : "images";
  return (
    <Box sx={{ display: "flex", flexWrap: "wrap", gap: 1, alignItems: "center", px: 1, pt: 1, flexShrink: 0 }}>
      <Select
        size="small"
        value={run?.key ?? ""}
        displayEmpty
        onChange={(event) => void board.load(event.target.value)}
        renderValue={(key) => key || "choose a run"}
        data-cy="dc-run"
        sx={{ minWidth: 120 }}
      >
        {board.runs.map((row) => (
          <MenuItem key={row.key} value={row.key} disabled={row.status !== "finished"}>
            {row.key} · {row.method}
            {row.status === "finished" ? "" : ` · ${row.status}`}
          </MenuItem>
        ))}
      </Select>
      {run && (
        <Box sx={{ flex: "1 1 220px", minWidth: 180 }} data-cy="dc-progress">
          <Typography variant="caption" component="div" noWrap>
            {number(progress.clustersReviewed)} of {number(progress.clusters)} clusters,{" "}
            {number(progress.imagesReviewed)} of {number(progress.images)} {unit} reviewed
          </Typography>
          <LinearProgress variant="determinate" value={share} aria-label="reviewed" />
        </Box>
      )}
      {run && (
        <Box sx={{ display: "flex", gap: 0.5 }}>
          <Step board={board} verb="undo" text={history.undo} shown="Undo" keys="Ctrl+Z" />
          <Step board={board} verb="redo" text={history.redo} shown="Redo" keys="Ctrl+Shift+Z" />
        </Box>
      )}
    </Box>
  );
}

function Step(props: { board: Board; verb: "undo" | "redo"; text: string | null; shown: string; keys: string }) {
  const { board, verb, text, shown, keys } = props;
  return (
    <Tooltip title={text === null ? `Nothing to ${verb}` : `${shown}: ${text} (${keys})`}>
      <span>
        <Button size="small" disabled={text === null} onClick={() => void board.edit({ verb })} data-cy={`dc-${verb}`}>
          {shown}
        </Button>
      </span>
    </Tooltip>
  );
}

export function number(value: number): string {
  return value.toLocaleString("en");
}
