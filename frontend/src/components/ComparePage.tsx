import { Box, Button, MenuItem, Select, Typography, useTheme } from "@mui/material";
import React from "react";

import type { CompareAnswer, RankAnswer } from "../model/api";
import type { Board } from "../model/useBoard";
import { number } from "./Header";

/** Contingency table of this run and another run or a label field; a click shows the images of a cell. */
export function ComparePage({ board }: { board: Board }) {
  const { ask, fail, run, runs } = board;
  const others = [
    ...runs.filter((row) => row.status === "finished" && row.key !== run?.key).map((row) => row.key),
    ...(run?.label_fields ?? []),
  ];
  const [other, setOther] = React.useState("");
  const [answer, setAnswer] = React.useState<CompareAnswer | null>(null);
  const key = run?.key ?? null;
  React.useEffect(() => {
    setAnswer(null);
    if (key === null || other === "") return;
    let current = true;
    ask("compare", { key, other }).then((answer) => current && setAnswer(answer), fail);
    return () => {
      current = false;
    };
  }, [ask, fail, key, other, board.version]);
  return (
    <Box sx={{ p: 1, overflow: "auto", flex: 1 }} data-cy="dc-compare">
      <Select size="small" displayEmpty value={other} onChange={(event) => setOther(event.target.value)} data-cy="dc-compare-with">
        <MenuItem value="">Compare with …</MenuItem>
        {others.map((name) => (
          <MenuItem key={name} value={name}>
            {name}
          </MenuItem>
        ))}
      </Select>
      {other === "" && runs.filter((row) => row.status === "finished").length >= MIN_RUNS && <RunRanking board={board} />}
      {answer && (
        <>
          <Typography sx={{ my: 1 }} data-cy="dc-agreement">
            ARI {answer.ari.toFixed(3)} · NMI {answer.nmi.toFixed(3)}
          </Typography>
          {answer.text.map((line) => (
            <Typography key={line} variant="body2" color="text.secondary">
              {line}
            </Typography>
          ))}
          <HeatMap answer={answer} onCell={(row, column) => {
            ask("show_pair", { key: key ?? "", other, cluster: row, value: column }).catch(fail);
          }} />
        </>
      )}
    </Box>
  );
}

/** Of two runs, each agrees with the other as much. */
const MIN_RUNS = 3;

/** All runs by their agreement with each other; a click opens a run. */
function RunRanking({ board }: { board: Board }) {
  const { ask, fail, run, load, version } = board;
  const [ranked, setRanked] = React.useState<{ answer: RankAnswer; version: number } | null>(null);
  const answer = ranked?.version === version ? ranked.answer : null; // not the ranking of before an edit
  const rank = (): void => void ask("rank", { key: run?.key ?? "" }).then((answer) => setRanked({ answer, version }), fail);
  return (
    <Box sx={{ mt: 1 }}>
      <Button size="small" variant="outlined" onClick={rank} data-cy="dc-rank">
        Rank the runs by agreement
      </Button>
      <Typography variant="body2" color="text.secondary" sx={{ my: 1 }}>
        Of runs that differ in the seed only, the one that agrees most with the others is usually the best to review.
      </Typography>
      {answer && (
        <Box component="table" sx={{ borderCollapse: "collapse", fontSize: 12, "& td, & th": { px: 1, py: 0.25, textAlign: "left" } }} data-cy="dc-ranking">
          <thead>
            <tr>
              <th>Run</th>
              <th title="Normalized mutual information of the clusters">Mean NMI with the others</th>
              <th>Clusters</th>
            </tr>
          </thead>
          <tbody>
            {answer.rows.map((row) => (
              <tr key={row.key} data-cy={`dc-ranked-${row.key}`}>
                <td>
                  {row.key === run?.key ? (
                    <b>{row.key} (open)</b>
                  ) : (
                    <Button size="small" onClick={() => void load(row.key)} sx={{ textTransform: "none", minWidth: 0, p: 0 }}>
                      {row.key}
                    </Button>
                  )}
                </td>
                <td>{row.nmi.toFixed(3)}</td>
                <td>{number(row.clusters)}</td>
              </tr>
            ))}
          </tbody>
        </Box>
      )}
    </Box>
  );
}

function HeatMap({ answer, onCell }: { answer: CompareAnswer; onCell(row: string, column: string): void }) {
  const { palette } = useTheme();
  const { rows, columns, counts } = answer;
  return (
    <Box component="table" sx={{ borderCollapse: "collapse", mt: 1, fontSize: 11 }}>
      <thead>
        <tr>
          <th />
          {columns.map((column) => (
            <th key={column} style={{ writingMode: "vertical-rl", fontWeight: 400, padding: 2 }} title={column}>
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, at) => {
          const most = Math.max(1, ...(counts[at] ?? []));
          return (
            <tr key={row}>
              <th style={{ textAlign: "right", fontWeight: 400, paddingRight: 4, whiteSpace: "nowrap" }}>{row}</th>
              {columns.map((column, index) => {
                const count = counts[at]?.[index] ?? 0;
                return (
                  <td
                    key={column}
                    title={`${row} and ${column}: ${number(count)}`}
                    onClick={() => count > 0 && onCell(row, column)}
                    data-cy={`dc-cell-${row}-${column}`}
                    style={{
                      position: "relative",
                      minWidth: 26,
                      height: 20,
                      textAlign: "center",
                      cursor: count > 0 ? "pointer" : "default",
                      border: `1px solid ${palette.divider}`,
                    }}
                  >
                    <span
                      style={{ position: "absolute", inset: 0, background: palette.primary.main, opacity: (0.7 * count) / most }}
                    />
                    <span style={{ position: "relative" }}>{count > 0 ? number(count) : ""}</span>
                  </td>
                );
              })}
            </tr>
          );
        })}
      </tbody>
    </Box>
  );
}
