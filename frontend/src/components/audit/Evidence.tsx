import { Box, Chip, Typography } from "@mui/material";
import React from "react";

import type { Picture } from "../../model/shared";
import type { AuditFacts, AuditItem } from "../../model/auditApi";
import type { Board } from "../../model/useBoard";
import { number } from "../Header";
import { percent } from "../Overview";
import { Thumb } from "../Thumb";

const SIZE = 72;
const STRIP = 48;
const PICTURES = 12;

interface Props {
  board: Board;
  facts: AuditFacts;
  items: readonly AuditItem[];
  wide: boolean;
}

/** Evidence for and against a label: the reason, the nearest images with their labels, its cluster. */
export function Evidence({ board, facts, items, wide }: Props) {
  const strips = useClusterStrips(board, facts.run, items);
  const item = items[0];
  if (!item) return null;
  const cluster = facts.clusters.find((known) => known.cluster === item.cluster);
  return (
    <Box sx={{ flex: wide ? "0 0 360px" : "1 1 auto", minWidth: 0 }} data-cy="dc-audit-evidence">
      {item.reason !== null && (
        <Typography variant="body2" sx={{ mb: 1 }} data-cy="dc-audit-reason">
          {item.reason}
        </Typography>
      )}
      {item.issues.length > 0 && (
        <Box sx={{ display: "flex", gap: 0.5, flexWrap: "wrap", mb: 1 }}>
          {item.issues.map((kind) => (
            <Chip key={kind} size="small" label={kind.replace(/_/g, " ")} title={facts.issues.find((issue) => issue.kind === kind)?.text ?? ""} />
          ))}
        </Box>
      )}
      {item.neighbors.length > 0 && (
        <>
          <Typography variant="subtitle2">Nearest {facts.unit === "object" ? "objects" : "images"}, and their labels</Typography>
          <Box sx={{ display: "flex", flexWrap: "wrap", gap: 0.5, mb: 1 }} data-cy="dc-audit-neighbors">
            {item.neighbors.map((near) => (
              <Box key={near.id} sx={{ width: SIZE }}>
                <Thumb picture={near} size={SIZE} />
                <Typography variant="caption" component="div" noWrap align="center" sx={{ color: colorOf(near.given, item) }} title={near.given ?? ""}>
                  {near.decision === null ? "" : "✓ "}
                  {near.given}
                </Typography>
              </Box>
            ))}
          </Box>
        </>
      )}
      {item.cluster !== null && facts.run !== null && (
        <>
          <Typography variant="subtitle2" noWrap>
            {item.cluster}
            {cluster ? ` · ${percent(cluster.share)} ${cluster.label} · ${number(cluster.n_images)}` : ""}
          </Typography>
          <Box sx={{ display: "flex", gap: "2px", flexWrap: "wrap", minHeight: STRIP }} data-cy="dc-audit-strip">
            {(strips.get(item.cluster) ?? []).map((picture) => (
              <Thumb key={picture.id} picture={picture} size={STRIP} />
            ))}
          </Box>
        </>
      )}
    </Box>
  );
}

function colorOf(label: string | null, item: AuditItem): string {
  if (label === item.given) return "warning.main";
  return label !== null && label === item.suggestion ? "success.main" : "text.secondary";
}

/** Central images of the clusters of the loaded labels; each cluster is asked for once. */
function useClusterStrips(board: Board, run: string | null, items: readonly AuditItem[]): ReadonlyMap<string, readonly Picture[]> {
  const [strips, setStrips] = React.useState<ReadonlyMap<string, readonly Picture[]>>(new Map());
  const asked = React.useRef(new Set<string>());
  const { ask, fail } = board;
  const names = JSON.stringify([...new Set(items.map((item) => item.cluster))]);
  React.useEffect(() => {
    const clusters = (JSON.parse(names) as (string | null)[]).filter((name): name is string => name !== null && !asked.current.has(name));
    if (run === null || clusters.length === 0) return;
    clusters.forEach((name) => asked.current.add(name));
    ask("strips", { key: run, clusters, n: PICTURES }).then(
      (answer) => setStrips((strips) => new Map([...strips, ...Object.entries(answer.strips)])),
      fail,
    );
  }, [ask, fail, names, run]);
  return strips;
}
