import { Box, Button, Typography } from "@mui/material";
import React from "react";

import type { Board } from "../model/useBoard";

/** What is shown on a dataset without runs. */
export function EmptyPage({ board }: { board: Board }) {
  const start = (): void => {
    board.ask("start", { operator: "cluster_images", key: null }).catch(board.fail);
  };
  return (
    <Box sx={{ p: 4, textAlign: "center" }} data-cy="dc-empty">
      <Typography variant="h6">No clusters yet</Typography>
      <Typography sx={{ my: 2 }} color="text.secondary">
        Cluster the images of this dataset: features and clusters are learned together, without labels.
      </Typography>
      <Button variant="contained" onClick={start} data-cy="dc-start">
        Cluster images
      </Button>
    </Box>
  );
}
