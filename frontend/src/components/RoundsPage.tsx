import { Alert, Box, Button, Typography } from "@mui/material";
import React from "react";

import type { RoundsAnswer } from "../model/api";
import type { Board } from "../model/useBoard";
import { LineChart } from "./LineChart";

/** Metrics of every round, with warnings. */
export function RoundsPage({ board }: { board: Board }) {
  const [answer, setAnswer] = React.useState<RoundsAnswer | null>(null);
  const { ask, fail, run } = board;
  const key = run?.key ?? null;
  React.useEffect(() => {
    if (key === null) return;
    let current = true;
    ask("rounds", { key }).then((answer) => current && setAnswer(answer), fail);
    return () => {
      current = false;
    };
  }, [ask, fail, key]);
  return (
    <Box sx={{ p: 1, overflowY: "auto", flex: 1 }} data-cy="dc-rounds">
      {run && (
        <Typography sx={{ mb: 1 }} data-cy="dc-facts">
          {run.facts}
        </Typography>
      )}
      {run && run.verdict !== "" && (
        <Typography sx={{ mb: 1 }} data-cy="dc-verdict">
          {run.verdict}
        </Typography>
      )}
      {run?.warnings.map((text) => (
        <Alert key={text} severity="warning" sx={{ mb: 1 }}>
          {text}
        </Alert>
      ))}
      {run?.resumable && (
        <Button size="small" variant="outlined" onClick={() => void ask("start", { operator: "resume_clustering", key: run.key }).catch(fail)} data-cy="dc-resume">
          Resume
        </Button>
      )}
      {answer?.alarms.map((text) => (
        <Alert key={text} severity="warning" sx={{ mb: 1 }}>
          {text}
        </Alert>
      ))}
      {answer && answer.charts.length === 0 && <Typography>This method has no rounds: nothing was trained.</Typography>}
      <Box sx={{ display: "grid", gap: 2, gridTemplateColumns: "repeat(auto-fill, minmax(260px, 1fr))" }}>
        {answer?.charts.map((chart) => (
          <LineChart key={chart.title} {...chart} />
        ))}
      </Box>
    </Box>
  );
}
