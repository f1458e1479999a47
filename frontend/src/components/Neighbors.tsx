import { Box, Button, Typography } from "@mui/material";
import React from "react";

import type { Cluster } from "../model/api";
import type { Picture } from "../model/shared";
import { counted } from "../model/units";
import type { Board } from "../model/useBoard";
import { Thumb } from "./Thumb";
import { useStrips } from "./useStrips";

const SIZE = 40;

interface Props {
  board: Board;
  cluster: Cluster;
  neighbors: readonly Cluster[];
  onGo(name: string): void;
  onJoin(name: string): void;
}

/** A cluster and the nearest ones, each as the images nearest to its center. */
export function Neighbors({ board, cluster, neighbors, onGo, onJoin }: Props) {
  const strips = useStrips(board, [cluster, ...neighbors]);
  return (
    <Box sx={{ maxHeight: "40%", overflowY: "auto", flexShrink: 0, pb: 0.5, mb: 0.5, borderBottom: 1, borderColor: "divider" }} data-cy="dc-neighbors">
      <Montage board={board} cluster={cluster} pictures={strips.get(cluster.name) ?? []} />
      {neighbors.map((other) => (
        <Montage key={other.name} board={board} cluster={other} pictures={strips.get(other.name) ?? []}>
          <Button size="small" onClick={() => onGo(other.name)} data-cy={`dc-open-${other.name}`}>
            Open
          </Button>
          <Button size="small" onClick={() => onJoin(other.name)} data-cy={`dc-join-${other.name}`}>
            Join
          </Button>
        </Montage>
      ))}
      {neighbors.length === 0 && (
        <Typography variant="caption">
          {board.clusters.length > 1 ? "This run has no stored vectors, so its nearest clusters are not known." : "There is no other cluster."}
        </Typography>
      )}
    </Box>
  );
}

interface MontageProps {
  board: Board;
  cluster: Cluster;
  pictures: readonly Picture[];
  children?: React.ReactNode;
}

function Montage({ board, cluster, pictures, children }: MontageProps) {
  return (
    <Box data-cy={`dc-montage-${cluster.name}`}>
      <Box sx={{ display: "flex", alignItems: "center", gap: 0.5 }}>
        <Typography variant="caption" noWrap title={cluster.name}>
          {cluster.name} · {counted(cluster.size, board.run)}
        </Typography>
        {children}
      </Box>
      <Box sx={{ display: "flex", gap: "2px", overflow: "hidden", minHeight: SIZE }}>
        {pictures.map((picture) => (
          <Thumb key={picture.id} picture={picture} size={SIZE} />
        ))}
      </Box>
    </Box>
  );
}
