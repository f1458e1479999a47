import { Box, Dialog, DialogContent, DialogTitle, Typography } from "@mui/material";
import React from "react";

interface Props {
  bindings: readonly { shown: string; text: string }[];
  onClose(): void;
}

/** The keys of a tab. */
export function HelpDialog({ bindings, onClose }: Props) {
  return (
    <Dialog open onClose={onClose} disableRestoreFocus data-cy="dc-help">
      <DialogTitle>Keys</DialogTitle>
      <DialogContent>
        {bindings.map(({ shown, text }) => (
          <Box key={shown + text} sx={{ display: "flex", gap: 2, py: 0.25 }}>
            <Typography component="kbd" sx={{ minWidth: 110, fontFamily: "monospace" }}>
              {shown}
            </Typography>
            <Typography>{text}</Typography>
          </Box>
        ))}
      </DialogContent>
    </Dialog>
  );
}
