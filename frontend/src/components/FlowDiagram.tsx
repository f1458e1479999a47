import { Box, Typography, useTheme } from "@mui/material";
import React from "react";

import type { Flow } from "../model/api";
import { drawFlow, OTHERS, ribbonPath } from "../model/flow";
import { counted } from "../model/units";
import type { Board } from "../model/useBoard";

const [WIDTH, HEIGHT, TOP, BAR, GAP] = [600, 150, 16, 12, 4];

/** Where the images of a cluster were in every round: one column a round, one block a cluster. */
export function FlowDiagram({ board, cluster, seed }: { board: Board; cluster: string; seed: string }) {
  const { ask, fail, run } = board;
  const key = run?.key ?? "";
  const [flow, setFlow] = React.useState<Flow | null | undefined>(undefined);
  React.useEffect(() => {
    let current = true;
    ask("flow", { key, cluster }).then((answer) => current && setFlow(answer.flow), fail);
    return () => {
      current = false;
    };
  }, [ask, cluster, fail, key, seed]);
  if (flow === undefined) return <Box sx={{ minHeight: HEIGHT, flexShrink: 0 }} />;
  if (flow === null) {
    return (
      <Typography variant="caption" sx={{ flexShrink: 0 }} data-cy="dc-flow">
        No history: the run has one round, or these were assigned to it later.
      </Typography>
    );
  }
  return (
    <Box sx={{ flexShrink: 0, overflowX: "auto" }} data-cy="dc-flow">
      <Typography variant="caption">
        Where {counted(flow.n_images, run)} of this cluster were in every round. A block is a cluster of that round.
      </Typography>
      <Diagram flow={flow} board={board} />
    </Box>
  );
}

function Diagram({ flow, board }: { flow: Flow; board: Board }) {
  const { palette } = useTheme();
  const { blocks, ribbons } = drawFlow(flow, WIDTH, HEIGHT - TOP, BAR, GAP);
  const step = (WIDTH - BAR) / Math.max(1, flow.rounds.length - 1);
  const roundAt = (x: number): number => flow.rounds[Math.round(x / step)] ?? 0;
  const name = (number: number): string => (number === OTHERS ? "other clusters" : `cluster ${number}`);
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width="100%" style={{ maxWidth: 800, minWidth: 320 }} role="img" aria-label="History">
      {flow.rounds.map((round, column) => (
        <text
          key={round}
          x={column * step + BAR / 2}
          y={11}
          textAnchor={column === 0 ? "start" : column === flow.rounds.length - 1 ? "end" : "middle"}
          fontSize="10"
          fill={palette.text.secondary}
        >
          {column === 0 ? `round ${round}` : round}
        </text>
      ))}
      <g transform={`translate(0 ${TOP})`}>
        {ribbons.map((ribbon) => (
          <path key={`${ribbon.x0} ${ribbon.y0} ${ribbon.y1}`} d={ribbonPath(ribbon)} fill={palette.primary.main} opacity={0.3}>
            <title>{counted(ribbon.size, board.run)}</title>
          </path>
        ))}
        {blocks.map((block) => (
          <rect
            key={`${block.x} ${block.number}`}
            data-cy={`dc-flow-${roundAt(block.x)}-${block.number}`}
            x={block.x}
            y={block.y}
            width={BAR}
            height={Math.max(1, block.height)}
            fill={block.number === OTHERS ? palette.text.disabled : palette.primary.main}
          >
            <title>{`Round ${roundAt(block.x)}, ${name(block.number)}: ${counted(block.size, board.run)}`}</title>
          </rect>
        ))}
      </g>
    </svg>
  );
}
