import { Box, Button, CircularProgress, LinearProgress, MenuItem, Select, Tooltip, Typography } from "@mui/material";
import React from "react";

import type { AuditCommand } from "../../model/auditKeys";
import type { AuditSession, AuditState } from "../../model/auditSession";
import type { Board } from "../../model/useBoard";
import { number } from "../Header";

interface Props {
  board: Board;
  session: AuditSession;
  audit: AuditState;
  onCommand(command: AuditCommand): void;
}

/** The audit, the progress of the decisions, undo and redo, what can be done with all labels. */
export function AuditHeader({ board, session, audit, onCommand }: Props) {
  const { facts, progress, history } = audit;
  if (!facts || !progress) return null;
  const { verdicts } = progress;
  const done = progress.n_decided + progress.n_issues_left;
  const share = done > 0 ? (100 * progress.n_decided) / done : 100;
  const counts: [number, string][] = [
    [verdicts.keep, "kept"],
    [verdicts.accept + verdicts.other, "corrected"],
    [verdicts.exclude, "excluded"],
    [verdicts.unsure, "not sure"],
  ];
  const verdictCounts = counts.filter(([n]) => n > 0).map(([n, word]) => `${number(n)} ${word}`);
  const undo = audit.waiting > 0 || history.undo !== null;
  return (
    <Box sx={{ display: "flex", flexWrap: "wrap", gap: 1, alignItems: "center", px: 1, pt: 1, flexShrink: 0 }}>
      <Select
        size="small"
        value={facts.key}
        onChange={(event) => {
          if (event.target.value === NEW) board.ask("start", { operator: "audit_labels", key: null }).catch(board.fail);
          else void session.load(event.target.value);
        }}
        renderValue={(key) => key}
        data-cy="dc-audit-key"
        sx={{ minWidth: 110 }}
      >
        {audit.audits.map((key) => (
          <MenuItem key={key} value={key}>
            {key}
          </MenuItem>
        ))}
        <MenuItem value={NEW}>New audit …</MenuItem>
      </Select>
      <Box sx={{ flex: "1 1 200px", minWidth: 180 }} data-cy="dc-audit-progress">
        <Typography variant="caption" component="div" noWrap title={verdictCounts.join(", ")}>
          {number(progress.n_decided)} decided{verdictCounts.length > 0 ? ` (${verdictCounts.join(", ")})` : ""} · {number(progress.n_issues_left)} suspicious left
        </Typography>
        <LinearProgress variant="determinate" value={share} aria-label="decided" />
      </Box>
      {(audit.fitting || progress.refitting) && (
        <Tooltip title="The scores are fitted again; decided labels count as right. You can continue meanwhile; the queue is then sorted again.">
          <Box sx={{ display: "flex", gap: 0.5, alignItems: "center" }} data-cy="dc-audit-fitting">
            <CircularProgress size={12} />
            <Typography variant="caption">fitting the scores again</Typography>
          </Box>
        </Tooltip>
      )}
      <Box sx={{ display: "flex", gap: 0.5, flexWrap: "wrap" }}>
        <Do title={history.undo ? `Undo: ${history.undo} (Ctrl+Z)` : "Nothing to undo"} name="undo" enabled={undo} {...{ onCommand }}>
          Undo
        </Do>
        <Do title={history.redo ? `Redo: ${history.redo} (Ctrl+Shift+Z)` : "Nothing to redo"} name="redo" enabled={audit.waiting > 0 || history.redo !== null} {...{ onCommand }}>
          Redo
        </Do>
        <Do title="Accept all suggestions above a probability, after a preview (P)" name="above" enabled {...{ onCommand }}>
          Accept above …
        </Do>
        <Do title="Write the decided labels to a field, after a preview (L)" name="write" enabled {...{ onCommand }}>
          Write labels …
        </Do>
      </Box>
    </Box>
  );
}

const NEW = "\u0000new"; // no key can be this

interface DoProps {
  title: string;
  name: AuditCommand;
  enabled: boolean;
  onCommand(command: AuditCommand): void;
  children: React.ReactNode;
}

function Do({ title, name, enabled, onCommand, children }: DoProps) {
  return (
    <Tooltip title={title}>
      <span>
        <Button size="small" disabled={!enabled} onClick={() => onCommand(name)} data-cy={`dc-audit-${name}`}>
          {children}
        </Button>
      </span>
    </Tooltip>
  );
}
