import { Box, Button, LinearProgress, MenuItem, Select, ToggleButton, Tooltip, Typography } from "@mui/material";
import { view as userView } from "@fiftyone/state";
import React from "react";
import { useRecoilValue } from "recoil";

import { isPut } from "../model/gridView";
import { units } from "../model/units";
import type { Board } from "../model/useBoard";
import type { Colors } from "./useColors";

/** The run, the progress of the review, undo and redo, what the grid shows. */
export function Header({ board, colors }: { board: Board; colors: Colors }) {
  const { progress, history, run } = board;
  const share = progress.images > 0 ? (100 * progress.imagesReviewed) / progress.images : 0;
  const put = isPut(useRecoilValue(userView));
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
            {number(progress.imagesReviewed)} of {number(progress.images)} {units(run)} reviewed
          </Typography>
          <LinearProgress variant="determinate" value={share} aria-label="reviewed" />
        </Box>
      )}
      {run && (
        <Box sx={{ display: "flex", gap: 0.5, alignItems: "center" }}>
          <Tooltip title="Color the grid and the Embeddings map by the clusters of this run">
            <ToggleButton size="small" value="colors" selected={colors.on} onChange={() => colors.turn(!colors.on)} data-cy="dc-colors">
              Colors
            </ToggleButton>
          </Tooltip>
          {put && (
            <Tooltip title="Show your own view in the grid again">
              <Button size="small" onClick={() => void board.ask("show", { key: run.key, cluster: null, ids: null }).catch(board.fail)} data-cy="dc-show-all">
                Whole view
              </Button>
            </Tooltip>
          )}
          <Step board={board} verb="undo" text={history.undo} shown="Undo" keys="Ctrl+Z" />
          <Step board={board} verb="redo" text={history.redo} shown="Redo" keys="Ctrl+Shift+Z" />
        </Box>
      )}
    </Box>
  );
}

function Step(props: { board: Board; verb: "undo" | "redo"; text: string | null; shown: string; keys: string }) {
  const { board, verb, text, shown, keys } = props;
  const { lost } = board.history;
  const why = verb === "undo" && lost > 0 ? `${number(lost)} ${lost === 1 ? "edit was" : "edits were"} made before the dataset was cloned, and cannot be undone` : `Nothing to ${verb}`;
  return (
    <Tooltip title={text === null ? why : `${shown}: ${text} (${keys})`}>
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
