import { Box, Checkbox, FormControlLabel, TextField, Typography } from "@mui/material";
import React from "react";

import { number } from "../components/Header";
import { Thumb } from "../components/Thumb";
import type { Chosen, Cluster, CommitRow, Edit, SplitPreview } from "../model/api";
import type { Picture } from "../model/shared";
import { nearestTo } from "../model/clusters";
import { counted } from "../model/units";
import { textOf, type Board } from "../model/useBoard";
import { Frame, NameField, Problem, selectText } from "./Frame";

/** A dialog; one that opens again, since the edit failed, has what was typed and the problem. */
export type Asked = { typed?: string; problem?: string } & (
  | { dialog: "move" }
  | { dialog: "name" | "split"; cluster: Cluster }
  | { dialog: "join"; cluster: Cluster; other: string | null }
  | { dialog: "commit" }
);

interface Props {
  asked: Asked;
  board: Board;
  images: Chosen | null;
  nImages: number;
  /** Where the images are selected, as an end of the title. */
  where: string;
  onClose(): void;
  /** `typed`: what to open the dialog with, if the edit fails. */
  onEdit(edit: Edit, typed?: string): void;
}

/** Asks for what an edit needs. Enter carries it out, Escape closes. */
export function EditDialog(props: Props) {
  const { asked } = props;
  switch (asked.dialog) {
    case "move":
      return <MoveDialog {...props} />;
    case "name":
      return <NameDialog {...props} cluster={asked.cluster} />;
    case "split":
      return <SplitDialog {...props} cluster={asked.cluster} />;
    case "join":
      return <JoinDialog {...props} cluster={asked.cluster} proposed={asked.other} />;
    case "commit":
      return <CommitDialog {...props} />;
  }
}

function MoveDialog({ asked, board, images, nImages, where, onClose, onEdit }: Props) {
  const [typed, setTyped] = React.useState(asked.typed ?? "");
  const names = board.clusters.filter((cluster) => !cluster.noise).map((cluster) => cluster.name);
  const to = complete(typed, names);
  const other = isCompleted(typed, to);
  const move = (to: string | null): void => {
    if (to !== null && images !== null) onEdit({ verb: "move", images, to }, typed);
  };
  return (
    <Frame
      name="move"
      title={`Move ${counted(nImages, board.run)}${where}`}
      action={to === null ? "Move" : `Move to ${names.includes(to) ? to : `a new cluster ${to}`}`}
      ready={to !== null && images !== null}
      onClose={onClose}
      onDo={() => move(to)}
      other={other === null ? null : { action: `New cluster ${other}`, onDo: () => move(other) }}
    >
      <NameField label="To cluster" value={typed} options={names} onChange={setTyped} onEscape={onClose} />
      <Completion to={to} other={other} />
      <Problem text={asked.problem ?? ""} />
    </Frame>
  );
}

/** The name that typed letters mean: a known name, the only one that contains them, or a new name. */
export function complete(typed: string, names: readonly string[]): string | null {
  const text = typed.trim();
  if (text === "") return null;
  if (names.includes(text)) return text;
  const lower = text.toLowerCase();
  const starts = names.filter((name) => name.toLowerCase().startsWith(lower));
  const found = starts.length > 0 ? starts : names.filter((name) => name.toLowerCase().includes(lower));
  return found.length === 1 ? (found[0] ?? null) : text;
}

/** What was typed, where it is completed to the name `to`; else null. */
export function isCompleted(typed: string, to: string | null): string | null {
  return to === null || to === typed.trim() ? null : typed.trim();
}

/** What Enter means where a name is completed. */
export function Completion({ to, other }: { to: string | null; other: string | null }) {
  return (
    <Typography variant="caption" component="div" sx={{ overflowWrap: "anywhere" }}>
      {other === null ? " " : `Enter: ${to}. Ctrl+Enter: ${other}, which is new.`}
    </Typography>
  );
}

function NameDialog({ asked, board, cluster, onClose, onEdit }: Props & { cluster: Cluster }) {
  const [typed, setTyped] = React.useState(asked.typed ?? "");
  const [options, setOptions] = React.useState<readonly string[]>([]);
  const { ask, fail, labelField, run } = board;
  const key = run?.key ?? "";
  React.useEffect(() => {
    ask("names", { key, cluster: cluster.name, label_field: labelField }).then((answer) => setOptions(answer.names), fail);
  }, [ask, cluster.name, fail, key, labelField]);
  const name = typed.trim();
  const exists = name !== cluster.name && board.clusters.some((other) => other.name === name);
  return (
    <Frame
      name="name"
      title={`Name ${cluster.name}`}
      action={exists ? "Join the two clusters" : "Name"}
      ready={name !== "" && name !== cluster.name}
      onClose={onClose}
      onDo={() =>
        onEdit(
          exists
            ? { verb: "merge", clusters: [cluster.name, name], into: name }
            : { verb: "rename", cluster: cluster.name, new_name: name },
          typed,
        )
      }
    >
      <NameField label="Name" value={typed} options={options} onChange={setTyped} onEscape={onClose} />
      <Typography variant="caption" component="div" sx={{ overflowWrap: "anywhere" }}>{exists ? `There is a cluster ${name}; Enter joins the two.` : " "}</Typography>
      <Problem text={asked.problem ?? ""} />
    </Frame>
  );
}

/** The preview is made for the number that is typed. Enter splits once it is shown; after an error, Enter tries again. */
function SplitDialog({ asked, board, cluster, onClose, onEdit }: Props & { cluster: Cluster }) {
  const [typed, setTyped] = React.useState(asked.typed ?? "2");
  const [attempt, setAttempt] = React.useState(0);
  const [preview, setPreview] = React.useState<SplitPreview | null>(null);
  const [problem, setProblem] = React.useState("");
  const { ask, run } = board;
  const key = run?.key ?? "";
  const n = typed.trim() === "" ? null : Number(typed);
  const valid = n === null || (Number.isInteger(n) && n >= 2 && n <= 10);
  React.useEffect(() => {
    setPreview(null);
    setProblem("");
    if (!valid) return;
    let current = true;
    ask("preview_split", { key, cluster: cluster.name, n_clusters: n }).then(
      (answer) => current && setPreview(answer),
      (error) => current && setProblem(textOf(error)),
    );
    return () => {
      current = false;
    };
  }, [ask, attempt, cluster.name, key, n, valid]);
  const failed = problem !== "";
  return (
    <Frame
      name="split"
      title={`Split ${cluster.name}`}
      action={preview === null ? "Preview" : `Split into ${preview.parts.length}`}
      ready={valid && (preview !== null || failed)}
      onClose={onClose}
      onDo={() => {
        if (preview === null) setAttempt(attempt + 1);
        else onEdit({ verb: "split", cluster: cluster.name, n_clusters: n }, typed);
      }}
    >
      <TextField
        autoFocus
        label="Number of parts, 2 to 10"
        helperText="Empty: the number with the highest silhouette"
        error={!valid}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onFocus={selectText}
        inputProps={{ inputMode: "numeric", "data-cy": "dc-dialog-number" }}
      />
      <Problem text={problem || (asked.problem ?? "")} />
      <Typography variant="caption" component="div" aria-live="polite" data-cy="dc-split-state">
        {aboutSplit(valid, failed, preview !== null)}
      </Typography>
      {preview?.parts.map((part, at) => (
        <Strip key={at} title={counted(part.size, board.run)} pictures={part.pictures} />
      ))}
    </Frame>
  );
}

/** What the split dialog waits for. */
function aboutSplit(valid: boolean, failed: boolean, shown: boolean): string {
  if (!valid) return "Type a whole number from 2 to 10.";
  if (failed) return "Enter tries again.";
  return shown ? "Enter splits the cluster into these parts." : "Computing the preview…";
}

function JoinDialog({ asked, board, cluster, proposed, onClose, onEdit }: Props & { cluster: Cluster; proposed: string | null }) {
  const names = board.clusters.filter((other) => !other.noise && other.name !== cluster.name).map((other) => other.name);
  const [typed, setTyped] = React.useState(asked.typed ?? proposed ?? nearestTo(cluster, board.clusters, board.nearest) ?? "");
  const other = complete(typed, names);
  const known = other !== null && names.includes(other);
  const [strips, setStrips] = React.useState<Record<string, Picture[]>>({});
  const { ask, fail, run } = board;
  const key = run?.key ?? "";
  React.useEffect(() => {
    if (!known) return;
    let current = true;
    ask("strips", { key, clusters: [cluster.name, other], n: 8 }).then((answer) => current && setStrips(answer.strips), fail);
    return () => {
      current = false;
    };
  }, [ask, cluster.name, fail, key, known, other]);
  const sizeOf = (name: string): number => board.clusters.find((one) => one.name === name)?.size ?? 0;
  const into = other !== null && sizeOf(other) > cluster.size ? other : cluster.name;
  return (
    <Frame
      name="join"
      title={`Join ${cluster.name} with another cluster`}
      action={`Join as ${into}`}
      ready={known}
      onClose={onClose}
      onDo={() => other !== null && onEdit({ verb: "merge", clusters: [cluster.name, other], into }, typed)}
    >
      <NameField label="Cluster" value={typed} options={names} onChange={setTyped} onEscape={onClose} />
      <Problem text={asked.problem ?? ""} />
      {known &&
        [cluster.name, other].map((name) => (
          <Strip key={name} title={`${name} · ${number(sizeOf(name))}`} pictures={strips[name] ?? []} />
        ))}
    </Frame>
  );
}

function Strip({ title, pictures }: { title: string; pictures: readonly Picture[] }) {
  return (
    <Box sx={{ mt: 1 }}>
      <Typography variant="caption" component="div" noWrap title={title}>
        {title}
      </Typography>
      <Box sx={{ display: "flex", gap: "2px", overflow: "hidden", minHeight: 56 }}>
        {pictures.slice(0, 8).map((picture) => (
          <Thumb key={picture.id} picture={picture} size={56} />
        ))}
      </Box>
    </Box>
  );
}

/** Field that is proposed where no label field is shown; for patches it is the class of the objects. */
const OWN_FIELD = "label";

function CommitDialog({ board, onClose, onEdit }: Props) {
  const { ask, busy, run } = board;
  const key = run?.key ?? "";
  const [field, setField] = React.useState(board.labelField ?? OWN_FIELD);
  const [overwrite, setOverwrite] = React.useState(false);
  const [onlyReviewed, setOnlyReviewed] = React.useState(board.progress.clustersReviewed > 0);
  const [onlyNamed, setOnlyNamed] = React.useState(true);
  const [rows, setRows] = React.useState<readonly CommitRow[] | null>(null);
  const [problem, setProblem] = React.useState("");
  React.useEffect(() => {
    let current = true;
    setRows(null); // what is written was counted before
    setProblem("");
    if (busy) return; // names that are still being saved count, too
    const timer = window.setTimeout(() => {
      ask("preview_commit", { key, field: field.trim(), overwrite, only_reviewed: onlyReviewed, only_named: onlyNamed }).then(
        (answer) => {
          if (!current) return;
          setRows(answer.rows);
          setProblem("");
        },
        (error) => {
          if (!current) return;
          setProblem(textOf(error));
        },
      );
    }, 300);
    return () => {
      current = false;
      window.clearTimeout(timer);
    };
  }, [ask, busy, key, field, overwrite, onlyReviewed, onlyNamed]);
  const total = (rows ?? []).reduce((sum, row) => sum + row.changes, 0);
  return (
    <Frame
      name="commit"
      title="Apply the names of the clusters to a field"
      action={rows === null && problem === "" ? "Counting…" : `Write ${number(total)} ${total === 1 ? "label" : "labels"}`}
      ready={rows !== null && total > 0}
      onClose={onClose}
      onDo={() => onEdit({ verb: "commit", field: field.trim(), overwrite, only_reviewed: onlyReviewed, only_named: onlyNamed })}
    >
      <NameField label="Field" value={field} options={run?.label_fields ?? []} onChange={setField} onEscape={onClose} />
      <FormControlLabel
        control={<Checkbox checked={overwrite} onChange={(_, checked) => setOverwrite(checked)} />}
        label="Replace existing labels"
      />
      <FormControlLabel
        control={<Checkbox checked={onlyReviewed} onChange={(_, checked) => setOnlyReviewed(checked)} />}
        label="Only reviewed clusters"
      />
      <FormControlLabel
        control={<Checkbox checked={onlyNamed} onChange={(_, checked) => setOnlyNamed(checked)} data-cy="dc-only-named" />}
        label="Only named clusters"
      />
      <Problem text={problem} />
      {rows?.length === 0 && (
        <Typography color="text.secondary" data-cy="dc-nothing-to-write">
          There is no {onlyReviewed ? "reviewed " : ""}cluster{onlyNamed ? " with a name yet. Name clusters first (N)" : ""}.
        </Typography>
      )}
      {rows && rows.length > 0 && (
        <Box component="table" sx={{ width: "100%", fontSize: 13, tableLayout: "fixed", overflowWrap: "anywhere", "& td": { verticalAlign: "top" } }} data-cy="dc-commit-table">
          <thead>
            <tr>
              {["Cluster", "Label", run?.unit === "object" ? "Objects that change" : "Images that change", "Keep their label"].map((title) => (
                <th key={title} style={{ textAlign: "left" }}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.cluster}>
                <td>{row.cluster}</td>
                <td>{row.label}</td>
                <td>{number(row.changes)}</td>
                <td>{number(row.keeps)}</td>
              </tr>
            ))}
          </tbody>
        </Box>
      )}
    </Frame>
  );
}
