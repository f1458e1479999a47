import { Box, Dialog, DialogContent, DialogTitle, Typography } from "@mui/material";
import React from "react";

import { BINDINGS } from "../model/keys";

/** The keys of the board. */
export function HelpDialog({ onClose }: { onClose(): void }) {
  return (
    <Dialog open onClose={onClose} data-cy="dc-help">
      <DialogTitle>Keys</DialogTitle>
      <DialogContent>
        <Line shown="Arrows" text="Move; with Shift, select" />
        {BINDINGS.map((binding) => (
          <Line key={binding.shown + binding.command} shown={binding.shown} text={binding.text} />
        ))}
      </DialogContent>
    </Dialog>
  );
}

function Line({ shown, text }: { shown: string; text: string }) {
  return (
    <Box sx={{ display: "flex", gap: 2, py: 0.25 }}>
      <Typography component="kbd" sx={{ minWidth: 110, fontFamily: "monospace" }}>
        {shown}
      </Typography>
      <Typography>{text}</Typography>
    </Box>
  );
}
