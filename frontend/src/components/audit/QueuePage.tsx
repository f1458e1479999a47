import { Box, Button, Chip, Tooltip, Typography } from "@mui/material";
import React from "react";

import type { AuditFacts, AuditItem, Wanted } from "../../model/auditApi";
import { ISSUE_AT } from "../../model/auditEffects";
import { decisionFor, type AuditCommand, type Decided } from "../../model/auditKeys";
import { SUSPICIOUS, queueTitle } from "../../model/auditMatrix";
import type { AuditState } from "../../model/auditSession";
import type { Board } from "../../model/useBoard";
import { number } from "../Header";
import { Thumb } from "../Thumb";
import { useSize } from "../useSize";
import { Evidence } from "./Evidence";
import { useAhead } from "./useAhead";

interface Props {
  board: Board;
  facts: AuditFacts;
  audit: AuditState;
  /** Classes of the keys 1 to 9. */
  legend: readonly string[];
  wholeGroup: boolean;
  onDecide(decided: Decided): void;
  onCommand(command: AuditCommand): void;
  onOpen(wanted: Wanted): void;
}

const WIDE = 720; // pixels from which image and evidence stand side by side
const LARGEST = 640;

/** The label that is decided next: its image, what was given and suggested, and the evidence. */
export function QueuePage(props: Props) {
  const { facts, audit, onCommand } = props;
  const frame = React.useRef<HTMLDivElement>(null);
  const { width, height } = useSize(frame);
  const wide = width >= WIDE;
  const shown = audit.items[0];
  useAhead(audit.items);
  const size = Math.max(120, Math.min(LARGEST, wide ? width - 392 : width - 24, wide ? height - 200 : height * 0.38));
  return (
    <>
      <Box sx={{ display: "flex", gap: 1, alignItems: "baseline", px: 1, pt: 0.5, flexShrink: 0 }}>
        <Button size="small" onClick={() => onCommand("back")} sx={{ flexShrink: 0 }} data-cy="dc-audit-back">
          ← Tables
        </Button>
        <Typography variant="body2" noWrap title={queueTitle(audit.wanted ?? {}, facts)} data-cy="dc-audit-queue">
          {queueTitle(audit.wanted ?? {}, facts)}
        </Typography>
        <Typography variant="body2" color="text.secondary" sx={{ flexShrink: 0 }} data-cy="dc-audit-total">
          {audit.total === null ? "…" : `${number(audit.total)} left`}
        </Typography>
      </Box>
      <Box ref={frame} sx={{ flex: 1, minHeight: 0, overflowY: "auto", p: 1 }} data-cy="dc-audit-page">
        {shown ? (
          <Box sx={{ display: "flex", gap: 2, flexDirection: wide ? "row" : "column", alignItems: wide ? "flex-start" : "stretch" }}>
            <Label {...props} item={shown} size={size} />
            <Evidence board={props.board} facts={facts} items={audit.items} wide={wide} />
          </Box>
        ) : (
          <Empty {...props} />
        )}
      </Box>
    </>
  );
}

function Empty({ audit, facts, onCommand, onOpen }: Props) {
  if (audit.total !== 0) return <Typography sx={{ p: 2 }}>…</Typography>;
  const left = audit.progress?.n_issues_left ?? 0;
  return (
    <Box sx={{ p: 3, textAlign: "center" }} data-cy="dc-audit-empty">
      <Typography variant="h6">Nothing is left in this queue</Typography>
      <Typography color="text.secondary" sx={{ my: 2 }}>
        {left > 0 ? `${number(left)} suspicious labels are left in other queues.` : `No suspicious label of ${facts.label_field} is left.`}
      </Typography>
      <Box sx={{ display: "flex", gap: 1, justifyContent: "center", flexWrap: "wrap" }}>
        {left > 0 && (
          <Button variant="contained" size="small" onClick={() => onOpen(SUSPICIOUS)}>
            Suspicious labels
          </Button>
        )}
        <Button variant={left > 0 ? "outlined" : "contained"} size="small" onClick={() => onCommand("write")}>
          Write labels …
        </Button>
      </Box>
    </Box>
  );
}

function Label(props: Props & { item: AuditItem; size: number }) {
  const { item, size, legend, wholeGroup, onDecide, onCommand } = props;
  const buttons: readonly { command: AuditCommand; key: string; text: string; off?: boolean }[] = [
    { command: "keep", key: "K", text: `Keep ${item.given}` },
    { command: "accept", key: "A", text: item.suggestion === null ? "Accept" : `Accept ${item.suggestion}`, off: item.suggestion === null },
    { command: "exclude", key: "X", text: "Exclude" },
    { command: "unsure", key: "U", text: "Not sure" },
  ];
  return (
    <Box sx={{ flex: "1 1 auto", minWidth: 0 }}>
      <Box sx={{ display: "flex", justifyContent: "center", bgcolor: "action.hover", p: "2px" }}>
        <Thumb key={item.id} picture={item} size={Math.floor(size)} />
      </Box>
      <Box sx={{ display: "flex", gap: 1, alignItems: "baseline", flexWrap: "wrap", my: 1, "& > *": { minWidth: 0, overflowWrap: "anywhere" } }} data-cy="dc-audit-label" data-image={item.id}>
        <Typography variant="h6" component="span" color="warning.main" title="Given label" data-cy="dc-audit-given">
          {item.given}
        </Typography>
        {item.suggestion !== null && (
          <Typography variant="h6" component="span">
            →{" "}
            <Box component="span" sx={{ color: "success.main" }} title="Suggested label" data-cy="dc-audit-suggestion">
              {item.suggestion}
            </Box>
          </Typography>
        )}
        <Tooltip title="Probability that the label is wrong">
          <Typography component="span" color="text.secondary" data-cy="dc-audit-p">
            {certainty(item.p_wrong)} wrong
          </Typography>
        </Tooltip>
        {item.p_wrong < ISSUE_AT && (
          <Typography component="span" variant="caption" color="text.secondary">
            from here on, labels are more probably right than wrong
          </Typography>
        )}
      </Box>
      {item.group !== null && (
        <Chip
          label={`${wholeGroup ? "Decides for all of" : "All suspicious:"} ${item.group} (W)`}
          color={wholeGroup ? "primary" : "default"}
          onClick={() => onCommand("group")}
          data-cy="dc-audit-group"
          sx={{ mb: 1 }}
        />
      )}
      <Box sx={{ display: "flex", gap: 0.5, flexWrap: "wrap" }}>
        {buttons.map(({ command, key, text, off }) => (
          <Choice key={command} shown={key} text={text} disabled={off === true} onClick={() => onCommand(command)} name={command} />
        ))}
      </Box>
      <Box sx={{ display: "flex", gap: 0.5, flexWrap: "wrap", mt: 0.5 }} data-cy="dc-audit-legend">
        {legend.map((label, at) => (
          <Choice key={label} shown={String(at + 1)} text={label} small onClick={() => onDecide(decisionFor(label, item))} name={`class-${at + 1}`} />
        ))}
        <Choice shown="O" text="other …" small onClick={() => onCommand("other")} name="other" />
      </Box>
    </Box>
  );
}

/** 97 %, but never 100 % or 0 %, as nobody has decided it. */
function certainty(p: number): string {
  if (p > 0.99) return "> 99 %";
  if (p < 0.01) return "< 1 %";
  return `${Math.round(100 * p)} %`;
}

interface ChoiceProps {
  shown: string;
  text: string;
  name: string;
  small?: boolean;
  disabled?: boolean;
  onClick(): void;
}

function Choice({ shown, text, name, small, disabled, onClick }: ChoiceProps) {
  return (
    <Button
      size="small"
      variant={small ? "text" : "outlined"}
      disabled={disabled === true}
      onClick={onClick}
      title={text}
      data-cy={`dc-audit-do-${name}`}
      sx={{ textTransform: "none", maxWidth: 220, minWidth: 0, justifyContent: "flex-start" }}
    >
      <Box component="kbd" sx={{ fontFamily: "monospace", mr: 0.75, opacity: 0.7 }}>
        {shown}
      </Box>
      <Box component="span" sx={{ overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}>
        {text}
      </Box>
    </Button>
  );
}
