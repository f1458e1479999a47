import { Box, Button, Checkbox, FormControlLabel, TextField, Typography } from "@mui/material";
import React from "react";

import { number } from "../components/Header";
import { Thumb } from "../components/Thumb";
import type { AbovePreview, AuditItem, LabelsPreview } from "../model/auditApi";
import { decisionFor, type Decided } from "../model/auditKeys";
import { queueTitle } from "../model/auditMatrix";
import type { AuditSession, AuditState } from "../model/auditSession";
import { textOf, type Board } from "../model/useBoard";
import { Completion, complete, isCompleted } from "./EditDialog";
import { Frame, NameField, Problem, selectText } from "./Frame";

export type AuditAsked = { dialog: "class"; item: AuditItem } | { dialog: "above" } | { dialog: "write" };

interface Props {
  asked: AuditAsked;
  board: Board;
  audit: AuditState;
  session: AuditSession;
  onClose(): void;
  onDecide(decided: Decided): void;
}

/** Asks for what a decision about one or many labels needs. */
export function AuditDialog(props: Props) {
  switch (props.asked.dialog) {
    case "class":
      return <ClassDialog {...props} item={props.asked.item} />;
    case "above":
      return <AboveDialog {...props} />;
    case "write":
      return <WriteDialog {...props} />;
  }
}

function ClassDialog({ audit, item, onClose, onDecide }: Props & { item: AuditItem }) {
  const [typed, setTyped] = React.useState("");
  const classes = audit.facts?.classes ?? [];
  const label = complete(typed, classes);
  const other = isCompleted(typed, label);
  const known = label !== null && classes.includes(label);
  return (
    <Frame
      name="class"
      title={`Instead of ${item.given}`}
      action={label === null ? "Decide" : `Decide for ${known ? label : `a new class ${label}`}`}
      ready={label !== null}
      onClose={onClose}
      onDo={() => label !== null && onDecide(decisionFor(label, item))}
      other={other === null ? null : { action: `New class ${other}`, onDo: () => onDecide(decisionFor(other, item)) }}
    >
      <NameField label="Class" value={typed} options={classes} onChange={setTyped} onEscape={onClose} />
      <Completion to={label} other={other} />
    </Frame>
  );
}

const WAIT = 300; // milliseconds without a key before it is counted

/** The answer to a question that changes while it is typed; null until it is there. */
function useCounted<T>(ask: (() => Promise<T>) | null, question: string): { answer: T | null; problem: string } {
  const [found, setFound] = React.useState<{ of: string; answer: T | null; problem: string }>({ of: "", answer: null, problem: "" });
  const latest = React.useRef(ask);
  latest.current = ask;
  React.useEffect(() => {
    let current = true;
    const timer = window.setTimeout(() => {
      latest.current?.().then(
        (answer) => current && setFound({ of: question, answer, problem: "" }),
        (error) => current && setFound({ of: question, answer: null, problem: textOf(error) }),
      );
    }, WAIT);
    return () => {
      current = false;
      window.clearTimeout(timer);
    };
  }, [question]);
  return found.of === question ? found : { answer: null, problem: "" };
}

function AboveDialog({ board, audit, session, onClose }: Props) {
  const [typed, setTyped] = React.useState("0.95");
  const [seed, setSeed] = React.useState(0);
  const key = audit.facts?.key ?? "";
  const wanted = audit.wanted ?? {};
  const p_wrong = typed.trim() === "" ? Number.NaN : Number(typed);
  const valid = p_wrong >= 0 && p_wrong <= 1;
  const question = JSON.stringify([key, wanted, p_wrong, seed]);
  const { answer, problem } = useCounted<AbovePreview>(
    valid ? () => board.ask("audit_preview_above", { audit: key, p_wrong, seed, wanted }) : null,
    question,
  );
  const n = answer?.n ?? 0;
  const where = audit.wanted !== null && audit.facts && Object.keys(wanted).length > 0 ? ` (${queueTitle(wanted, audit.facts)})` : "";
  return (
    <Frame
      name="above"
      title={`Accept all suggestions above a probability${where}`}
      action={answer === null && problem === "" && valid ? "Counting…" : `Accept ${number(n)} ${n === 1 ? "suggestion" : "suggestions"}`}
      ready={n > 0}
      onClose={onClose}
      onDo={() => {
        onClose();
        void session.acceptAbove(p_wrong, wanted);
      }}
    >
      <TextField
        autoFocus
        label="Minimum probability that the label is wrong, 0 to 1"
        error={!valid}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onFocus={selectText}
        fullWidth
        inputProps={{ inputMode: "decimal", "data-cy": "dc-dialog-number" }}
      />
      <Problem text={problem} />
      {answer && (
        <>
          <Box sx={{ display: "flex", gap: 1, alignItems: "center", mt: 1 }}>
            <Typography variant="subtitle2" sx={{ flex: 1 }}>
              {answer.sample.length < answer.n ? `${answer.sample.length} of the ${number(answer.n)}, drawn at random` : `All ${number(answer.n)}`}
            </Typography>
            {answer.sample.length < answer.n && (
              <Button size="small" onClick={() => setSeed(seed + 1)} data-cy="dc-above-again">
                Draw others
              </Button>
            )}
          </Box>
          <Box sx={{ display: "flex", flexWrap: "wrap", gap: 0.5 }} data-cy="dc-above-sample">
            {answer.sample.map((item) => (
              <Box key={item.id} sx={{ width: 84 }} title={item.reason ?? ""}>
                <Thumb picture={item} size={84} />
                <Typography variant="caption" component="div" noWrap align="center" title={`${item.given} → ${item.suggestion ?? ""}`}>
                  {item.given} → {item.suggestion}
                </Typography>
              </Box>
            ))}
          </Box>
          <Pairs rows={answer.pairs.map((pair) => ({ from: pair.given, to: pair.suggestion, n: pair.n }))} title="Suggested" />
        </>
      )}
    </Frame>
  );
}

function WriteDialog({ board, audit, session, onClose }: Props) {
  const { facts } = audit;
  const [typed, setField] = React.useState(facts?.fields[0] ?? "");
  const [overwrite, setOverwrite] = React.useState(false);
  const field = typed.trim();
  const key = facts?.key ?? "";
  const { answer, problem } = useCounted<LabelsPreview>(
    field === "" ? null : () => board.ask("audit_preview_labels", { audit: key, field, overwrite }),
    JSON.stringify([key, field, overwrite, audit.history.version]),
  );
  const n = answer?.n ?? 0;
  return (
    <Frame
      name="write"
      title="Write the decided labels to a field"
      action={answer === null && problem === "" && field !== "" ? "Counting…" : `Write ${number(n)} ${n === 1 ? "label" : "labels"}`}
      ready={n > 0}
      onClose={onClose}
      onDo={() => {
        onClose();
        void session.commit(field, overwrite);
      }}
    >
      <NameField label="Field" value={typed} options={facts?.fields ?? []} onChange={setField} onEscape={onClose} />
      <FormControlLabel
        control={<Checkbox checked={overwrite} onChange={(_, checked) => setOverwrite(checked)} data-cy="dc-write-replace" />}
        label="Replace labels that somebody else has written"
      />
      <Typography variant="caption" component="p" sx={{ mt: 1 }}>
        {field === facts?.fields[0]
          ? "Only labels that a decision changed are written. Can be undone."
          : "All labels are written: as decided, else as given; excluded images get none. Can be undone."}
      </Typography>
      <Problem text={problem} />
      {answer && (
        <Typography color="text.secondary" sx={{ my: 1 }} data-cy="dc-write-counts">
          {answer.n === 0 && answer.n_kept === 0
            ? "Nothing to write: the field already has the labels as decided."
            : [
                answer.made_field ? "The field is created." : "",
                answer.n_as_given > 0 ? `${number(answer.n_as_given)} as given.` : "",
                answer.n > 0 ? `${number(answer.n - answer.n_as_given)} corrected.` : "",
                answer.n_replaced > 0 ? `${number(answer.n_replaced)} ${answer.n_replaced === 1 ? "replaces" : "replace"} a label that somebody else has written.` : "",
                answer.n_kept > 0 ? `${number(answer.n_kept)} ${answer.n_kept === 1 ? "keeps" : "keep"} a label that somebody else has written.` : "",
              ]
                .filter(Boolean)
                .join(" ")}
        </Typography>
      )}
      {answer && <Pairs rows={answer.pairs.map((pair) => ({ from: pair.given, to: pair.label, n: pair.n }))} title="Written" />}
    </Frame>
  );
}

function Pairs({ rows, title }: { rows: readonly { from: string; to: string; n: number }[]; title: string }) {
  if (rows.length === 0) return null;
  return (
    <Box component="table" sx={{ width: "100%", fontSize: 13, mt: 1 }} data-cy="dc-audit-pairs">
      <thead>
        <tr>
          {["Given", title, "Labels"].map((text) => (
            <th key={text} style={{ textAlign: "left" }}>
              {text}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={`${row.from}\n${row.to}`}>
            <td>{row.from}</td>
            <td>{row.to}</td>
            <td>{number(row.n)}</td>
          </tr>
        ))}
      </tbody>
    </Box>
  );
}
