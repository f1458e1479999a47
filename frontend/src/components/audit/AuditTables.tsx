import { Box, Button, Chip, Tooltip, Typography, useTheme } from "@mui/material";
import React from "react";

import type { AuditFacts, NoiseRate, Wanted } from "../../model/auditApi";
import { SUSPICIOUS, leftByClass, matrixOf } from "../../model/auditMatrix";
import type { AuditState } from "../../model/auditSession";
import { number } from "../Header";

interface Props {
  facts: AuditFacts;
  audit: AuditState;
  onOpen(wanted: Wanted): void;
}

const MOST_CLASSES = 24;
const MOST_ROWS = 200;
const LONGEST_UPRIGHT = 3;
const TURNED: React.CSSProperties = {
  writingMode: "vertical-rl",
  transform: "rotate(180deg)",
  maxHeight: 100,
  overflow: "hidden",
  whiteSpace: "nowrap",
  margin: "0 auto",
  padding: "2px 0",
};

/** What the audit found: a matrix, other issues, and the classes by their estimated noise. Each opens a queue. */
export function AuditTables({ facts, audit, onOpen }: Props) {
  const left = audit.progress?.n_issues_left ?? 0;
  const all = (audit.progress?.n_audited ?? 0) - (audit.progress?.n_decided ?? 0);
  return (
    <Box sx={{ p: 1, overflowY: "auto", flex: 1 }} data-cy="dc-audit-tables">
      <Typography data-cy="dc-audit-facts">{sentence(facts)}</Typography>
      <Box sx={{ display: "flex", gap: 1, flexWrap: "wrap", my: 1 }}>
        <Button size="small" variant="contained" onClick={() => onOpen({})} disabled={all === 0} data-cy="dc-audit-start-queue">
          {all === 0 ? "All labels are decided" : "Review, worst first (Enter)"}
        </Button>
        {left > 0 && (
          <Button size="small" variant="outlined" onClick={() => onOpen(SUSPICIOUS)} data-cy="dc-audit-suspicious">
            Only the {number(left)} suspicious
          </Button>
        )}
        {facts.issues
          .filter((issue) => issue.kind !== "wrong_label" && issue.kind !== "rare_class")
          .map((issue) => (
            <Chip
              key={issue.kind}
              label={`${words(issue.kind)}: ${number(issue.n_images)}`}
              title={issue.text}
              onClick={() => onOpen({ issue: issue.kind })}
              data-cy={`dc-audit-issue-${issue.kind}`}
            />
          ))}
      </Box>
      {left === 0 && (
        <Typography color="text.secondary" sx={{ mb: 1 }} data-cy="dc-audit-none-left">
          {audit.progress?.n_decided ? "Every suspicious label is decided." : "No label is more probably wrong than right."}
        </Typography>
      )}
      <Box sx={{ display: "flex", gap: 3, flexWrap: "wrap", alignItems: "flex-start" }}>
        {audit.left.length > 0 && <MatrixTable facts={facts} audit={audit} onOpen={onOpen} />}
        <Classes facts={facts} audit={audit} onOpen={onOpen} />
      </Box>
    </Box>
  );
}

function sentence(facts: AuditFacts): string {
  const { n_audited, label_field, classes, noise } = facts;
  const wrong = noise === null ? "" : `; about ${rate(noise.rate)} are wrong (${rate(noise.low)} to ${rate(noise.high)})`;
  return `${number(n_audited)} labels of ${label_field} in ${number(classes.length)} classes${wrong}.`;
}

function rate(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function words(kind: string): string {
  return kind.replace(/_/g, " ");
}

function MatrixTable({ facts, audit, onOpen }: Props) {
  const { palette } = useTheme();
  const matrix = React.useMemo(() => matrixOf(facts.classes, audit.left, MOST_CLASSES), [audit.left, facts.classes]);
  const upright = matrix.classes.every((label) => label.length <= LONGEST_UPRIGHT);
  return (
    <Box sx={{ maxWidth: "100%", overflowX: "auto" }} data-cy="dc-audit-matrix">
      <Typography variant="subtitle2">Given label (row) and suggested label (column), suspicious and not decided</Typography>
      <Box component="table" sx={{ borderCollapse: "collapse", fontSize: 12 }}>
        <thead>
          <tr>
            <th />
            {matrix.classes.map((label) => (
              <th key={label} title={label} style={{ fontWeight: 400, padding: 2, verticalAlign: "bottom" }}>
                <div style={upright ? undefined : TURNED}>{label}</div>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {matrix.classes.map((given) => (
            <tr key={given}>
              <th title={given} style={{ textAlign: "right", fontWeight: 400, paddingRight: 6, whiteSpace: "nowrap", maxWidth: 120, overflow: "hidden", textOverflow: "ellipsis" }}>
                {given}
              </th>
              {matrix.classes.map((suggestion) => {
                const n = matrix.counts.get(given)?.get(suggestion) ?? 0;
                const isOpen = n > 0;
                return (
                  <td
                    key={suggestion}
                    title={`${given} → ${suggestion}: ${number(n)}`}
                    onClick={() => isOpen && onOpen({ given, suggestion, ...SUSPICIOUS })}
                    data-cy={`dc-audit-cell-${given}-${suggestion}`}
                    style={{
                      position: "relative",
                      minWidth: 26,
                      height: 24,
                      textAlign: "center",
                      cursor: isOpen ? "pointer" : "default",
                      border: `1px solid ${palette.divider}`,
                      background: given === suggestion ? palette.action.hover : undefined,
                    }}
                  >
                    <span style={{ position: "absolute", inset: 0, background: palette.primary.main, opacity: isOpen ? 0.15 + (0.6 * n) / matrix.most : 0 }} />
                    <span style={{ position: "relative" }}>{isOpen ? number(n) : ""}</span>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </Box>
      {matrix.hidden > 0 && (
        <Typography variant="caption" color="text.secondary">
          {number(matrix.hidden)} more classes have fewer suspicious labels.
        </Typography>
      )}
    </Box>
  );
}

function Classes({ facts, audit, onOpen }: Props) {
  const left = React.useMemo(() => leftByClass(audit.left), [audit.left]);
  const widest = Math.max(0.01, ...facts.by_class.map((row) => row.noise?.rate ?? 0));
  return (
    <Box sx={{ flex: "1 1 340px", minWidth: 0, maxWidth: 640, overflowX: "auto" }}>
      <Typography variant="subtitle2">Classes by estimated share of wrong labels</Typography>
      <Box component="table" sx={{ borderCollapse: "collapse", width: "100%", fontSize: 13, "& td, & th": { px: 0.75, py: 0.25, textAlign: "right", fontWeight: 400, whiteSpace: "nowrap" } }} data-cy="dc-audit-classes">
        <thead>
          <tr>
            <th style={{ textAlign: "left" }}>Label</th>
            <th style={{ textAlign: "left" }}>Wrong</th>
            <th>{facts.unit === "object" ? "Objects" : "Images"}</th>
            <th>Left</th>
            <th style={{ textAlign: "left" }}>Taken for</th>
          </tr>
        </thead>
        <tbody>
          {facts.by_class.slice(0, MOST_ROWS).map((row) => (
            <Box
              component="tr"
              key={row.label}
              onClick={() => onOpen({ given: row.label })}
              data-cy={`dc-audit-class-${row.label}`}
              sx={{ cursor: "pointer", borderTop: "1px solid", borderColor: "divider", "&:hover": { bgcolor: "action.hover" } }}
            >
              <td style={{ textAlign: "left", maxWidth: 140, overflow: "hidden", textOverflow: "ellipsis" }} title={row.label}>
                {row.label}
              </td>
              <td style={{ textAlign: "left" }}>
                <Noise noise={row.noise} widest={widest} />
              </td>
              <td>{number(row.n_images)}</td>
              <td>{number(left.get(row.label) ?? 0)}</td>
              <td style={{ textAlign: "left", maxWidth: 120, overflow: "hidden", textOverflow: "ellipsis" }}>{row.taken_for ?? ""}</td>
            </Box>
          ))}
        </tbody>
      </Box>
      {facts.by_class.length > MOST_ROWS && (
        <Typography variant="caption" color="text.secondary">
          The {number(MOST_ROWS)} noisiest of {number(facts.classes.length)} classes.
        </Typography>
      )}
    </Box>
  );
}

function Noise({ noise, widest }: { noise: NoiseRate | null; widest: number }) {
  if (noise === null) return <span title="Fewer than 12 images: not audited">–</span>;
  return (
    <Tooltip title={`95 % interval: ${rate(noise.low)} to ${rate(noise.high)}`}>
      <Box component="span" sx={{ display: "inline-flex", alignItems: "center", gap: 0.75 }}>
        <Box component="span" sx={{ display: "inline-block", width: 60, height: 8, bgcolor: "action.hover" }}>
          <Box component="span" sx={{ display: "block", height: "100%", width: `${(100 * noise.rate) / widest}%`, bgcolor: "warning.main" }} />
        </Box>
        {rate(noise.rate)}
      </Box>
    </Tooltip>
  );
}
