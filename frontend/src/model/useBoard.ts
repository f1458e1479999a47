// State of the board: the last answers of the server, and what is displayed.
import React from "react";

import type { Ask, Cluster, Edit, EditAnswer, JobRow, LoadAnswer, Rows, RunFacts, RunRow, SidebarGroup } from "./api";
import type { History } from "./shared";
import { progressOf, withChanges, type Progress } from "./clusters";
import { keepTabOpen } from "./keepTabOpen";

export interface Message {
  readonly text: string;
  readonly kind: "success" | "error" | "info" | "warning";
}

export interface ShownMessage extends Message {
  readonly id: number;
}

/** Messages that are shown at the same time. */
const MOST_MESSAGES = 3;

/** Message of an error. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export interface Board {
  readonly ask: Ask;
  readonly loaded: boolean;
  readonly runs: readonly RunRow[];
  /** Analyses, audits and imports. */
  readonly jobs: readonly JobRow[];
  /** Keys of the label audits. */
  readonly audits: readonly string[];
  readonly sidebar: readonly SidebarGroup[];
  readonly run: RunFacts | null;
  readonly clusters: readonly Cluster[];
  readonly progress: Progress;
  readonly nearest: LoadAnswer["nearest"];
  readonly history: History;
  readonly labelField: string | null;
  /** The last messages that were not dismissed, the newest last. */
  readonly messages: readonly ShownMessage[];
  /** Number of edits seen; images are loaded again when it changes. */
  readonly version: number;
  /** Clusters whose images changed last; null: all. */
  readonly touched: ReadonlySet<string> | null;
  /** Whether the answer to an edit is still missing. */
  readonly busy: boolean;
  /** Whether the answer to the last `load` is still missing. */
  readonly loading: boolean;
  load(key: string | null): Promise<void>;
  /** Carry out an edit; null if it failed. The problem is shown, or handed to `onProblem`. */
  edit(edit: Edit, onProblem?: (problem: string) => void): Promise<EditAnswer | null>;
  setLabelField(field: string | null): void;
  setRows(rows: Rows): void;
  notify(message: Message): void;
  dismiss(id: number): void;
  fail(error: unknown): void;
}

const NO_HISTORY: History = { undo: null, redo: null, lost: 0, version: 0 };
const EMPTY: LoadAnswer = { runs: [], jobs: [], audits: [], sidebar: [], run: null, clusters: [], nearest: {}, history: NO_HISTORY, label_field: null };

export function useBoard(ask: Ask): Board {
  const [state, setState] = React.useState<LoadAnswer>(EMPTY);
  const [loaded, setLoaded] = React.useState(false);
  const [version, setVersion] = React.useState(0);
  const [touched, setTouched] = React.useState<ReadonlySet<string> | null>(null);
  const [messages, setMessages] = React.useState<readonly ShownMessage[]>([]);
  const lastId = React.useRef(0);
  const notify = React.useCallback((message: Message) => {
    const shown = { ...message, id: ++lastId.current };
    setMessages((messages) => [...messages.filter((other) => other.text !== message.text), shown].slice(-MOST_MESSAGES));
  }, []);
  const dismiss = React.useCallback((id: number) => setMessages((messages) => messages.filter((message) => message.id !== id)), []);
  const key = state.run?.key ?? null;
  // a choice is shown immediately, before its counts are loaded
  const [chosen, setChosen] = React.useState<{ field: string | null } | null>(null);
  const labelField = chosen === null ? state.label_field : chosen.field;
  const fail = React.useCallback((error: unknown) => {
    notify({ text: textOf(error), kind: "error" });
  }, [notify]);

  // answers to earlier questions than the last are ignored, and so are those of before an edit
  const reads = React.useRef(0);
  const edits = React.useRef(0);
  const known = React.useRef(0); // version of the edits that are seen here
  const [loading, setLoading] = React.useState(false);
  const read = React.useCallback(
    async (key: string | null, field: string | null): Promise<void> => {
      const number = ++reads.current;
      setLoading(true);
      try {
        let seen: number;
        let answer: LoadAnswer;
        do {
          seen = edits.current;
          answer = await ask("load", { key, label_field: field });
          if (number !== reads.current) return;
        } while (seen !== edits.current);
        known.current = answer.history.version;
        setState(answer);
        setTouched(null);
        setVersion((version) => version + 1);
        setLoaded(true);
      } catch (error) {
        if (number === reads.current) fail(error);
      } finally {
        if (number === reads.current) {
          setLoading(false);
          setChosen(null);
        }
      }
    },
    [ask, fail],
  );

  // edits wait for each other: each is sent when the answer to the last is there
  const queue = React.useRef<Promise<unknown>>(Promise.resolve());
  const [waiting, setWaiting] = React.useState(0);
  const edit = React.useCallback(
    (edit: Edit, onProblem?: (problem: string) => void): Promise<EditAnswer | null> => {
      const run = async (): Promise<EditAnswer | null> => {
        if (key === null) return null;
        let stale = false;
        try {
          const version = known.current;
          const answer = await ask("edit", { key, edit, dry_run: false, label_field: labelField, version });
          stale = answer.stale;
          apply(answer);
          const left = (edit.verb === "undo" || edit.verb === "redo") && answer.change.n_kept > 0;
          notify({ text: answer.change.text, kind: left ? "warning" : "success" });
          return answer;
        } catch (error) {
          if (onProblem) onProblem(textOf(error));
          else fail(error);
          return null;
        } finally {
          edits.current += 1;
          setWaiting((waiting) => waiting - 1);
          if (stale) void read(key, labelField); // the answer does not have what others changed
        }
      };
      const apply = (answer: EditAnswer): void => {
        known.current = answer.history.version;
        setState((state) => {
          if (state.run?.key !== key) return state; // another run was opened in between
          const run = { ...state.run, label_fields: answer.label_fields };
          return { ...state, run, clusters: withChanges(state.clusters, answer.clusters, answer.gone), history: answer.history };
        });
        setTouched(new Set([...answer.clusters.map((cluster) => cluster.name), ...answer.gone]));
        setVersion((version) => version + 1);
      };
      setWaiting((waiting) => waiting + 1);
      const next = keepTabOpen(queue.current.then(run));
      queue.current = next;
      return next;
    },
    [ask, fail, key, labelField, notify, read],
  );

  const setLabelField = React.useCallback(
    (field: string | null): void => {
      setChosen({ field });
      void read(key, field);
    },
    [key, read],
  );
  // always the same function: the panel loads its first run when it changes
  const field = React.useRef(labelField);
  field.current = labelField;
  const load = React.useCallback((key: string | null) => read(key, field.current), [read]);
  const setRows = React.useCallback(({ runs, jobs }: Rows) => setState((state) => ({ ...state, runs, jobs })), []);

  const progress = React.useMemo(() => progressOf(state.clusters), [state.clusters]);

  return {
    ask,
    loaded,
    ...state,
    progress,
    labelField,
    messages,
    version,
    touched,
    busy: waiting > 0,
    loading,
    load,
    edit,
    setLabelField,
    setRows,
    notify,
    dismiss,
    fail,
  };
}
