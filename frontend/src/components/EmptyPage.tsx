import { Box, Button, Typography } from "@mui/material";
import React from "react";

import type { Board } from "../model/useBoard";

/** What is shown on a dataset without runs. */
export function EmptyPage({ board }: { board: Board }) {
  const start = (operator: string): void => {
    board.ask("start", { operator, key: null }).catch(board.fail);
  };
  return (
    <Box sx={{ p: 4, textAlign: "center" }} data-cy="dc-empty">
      <Typography variant="h6">No clusters yet</Typography>
      <Typography sx={{ my: 2 }} color="text.secondary">
        Cluster the images of this dataset: features and clusters are learned together, without labels.
      </Typography>
      <Button variant="contained" onClick={() => start("cluster_images")} data-cy="dc-start">
        Cluster images
      </Button>
      <Typography sx={{ mt: 4, mb: 2 }} color="text.secondary">
        Or, if it has labels: find those that are probably wrong.
      </Typography>
      <Button variant="outlined" onClick={() => start("audit_labels")} data-cy="dc-audit-start">
        Audit labels
      </Button>
    </Box>
  );
}
