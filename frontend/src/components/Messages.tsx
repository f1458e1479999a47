import { Alert, Box } from "@mui/material";
import React from "react";

import type { Board, ShownMessage } from "../model/useBoard";

const SECONDS = { success: 4, info: 4, warning: 12, error: 12 };

/** The last messages, the newest at the bottom. Each has its own time. */
export function Messages({ board }: { board: Board }) {
  return (
    <Box
      sx={{
        position: "absolute", bottom: 24, left: 8, right: 8, zIndex: "snackbar", pointerEvents: "none",
        display: "flex", flexDirection: "column-reverse", alignItems: "center", gap: 1,
      }}
    >
      {[...board.messages].reverse().map((message) => (
        <Note key={message.id} message={message} onClose={() => board.dismiss(message.id)} />
      ))}
    </Box>
  );
}

function Note({ message, onClose }: { message: ShownMessage; onClose(): void }) {
  const close = React.useRef(onClose);
  close.current = onClose;
  const [held, setHeld] = React.useState(false); // by the mouse
  React.useEffect(() => {
    if (held) return;
    const timer = window.setTimeout(() => close.current(), 1000 * SECONDS[message.kind]);
    return () => window.clearTimeout(timer);
  }, [held, message.kind]);
  return (
    <Alert
      severity={message.kind}
      onClose={onClose}
      onMouseEnter={() => setHeld(true)}
      onMouseLeave={() => setHeld(false)}
      data-cy="dc-message"
      sx={{
        maxWidth: 480, maxHeight: 160, overflowY: "auto", overflowWrap: "anywhere", pointerEvents: "auto", boxShadow: 6,
        flexShrink: 0, "& .MuiAlert-message": { minWidth: 0 },
      }}
    >
      {message.text}
    </Alert>
  );
}
