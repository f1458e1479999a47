// State of the board: what the server said last, and what the user looks at.
import React from "react";

import type { Ask, Cluster, Edit, EditAnswer, History, LoadAnswer, RunFacts, RunRow } from "./api";
import { progressOf, withChanges, type Progress } from "./clusters";

export interface Message {
  readonly text: string;
  readonly kind: "success" | "error" | "info";
}

export interface Board {
  readonly ask: Ask;
  readonly loaded: boolean;
  readonly runs: readonly RunRow[];
  readonly run: RunFacts | null;
  readonly clusters: readonly Cluster[];
  readonly progress: Progress;
  readonly nearest: LoadAnswer["nearest"];
  readonly history: History;
  readonly labelField: string | null;
  readonly message: Message | null;
  /** Number of edits seen; images are loaded again when it changes. */
  readonly version: number;
  /** Clusters whose images changed last; null: all. */
  readonly touched: ReadonlySet<string> | null;
  load(key: string | null): Promise<void>;
  edit(edit: Edit): Promise<EditAnswer | null>;
  setLabelField(field: string | null): void;
  setRuns(runs: readonly RunRow[]): void;
  say(message: Message | null): void;
  fail(error: unknown): void;
}

const NO_HISTORY: History = { undo: null, redo: null, version: 0 };
const EMPTY: LoadAnswer = { runs: [], run: null, clusters: [], nearest: {}, history: NO_HISTORY };

export function useBoard(ask: Ask): Board {
  const [state, setState] = React.useState<LoadAnswer>(EMPTY);
  const [loaded, setLoaded] = React.useState(false);
  const [version, setVersion] = React.useState(0);
  const [touched, setTouched] = React.useState<ReadonlySet<string> | null>(null);
  const [message, say] = React.useState<Message | null>(null);
  const [labelField, changeLabelField] = React.useState<string | null>(null);
  const key = state.run?.key ?? null;
  const fail = React.useCallback((error: unknown) => {
    say({ text: error instanceof Error ? error.message : String(error), kind: "error" });
  }, []);

  const read = React.useCallback(
    async (key: string | null, field: string | null): Promise<void> => {
      try {
        const answer = await ask("load", { key, label_field: field });
        setState(answer);
        setTouched(null);
        setVersion((version) => version + 1);
        setLoaded(true);
      } catch (error) {
        fail(error);
      }
    },
    [ask, fail],
  );

  // edits wait for each other: each is sent when the answer to the last is there
  const queue = React.useRef<Promise<unknown>>(Promise.resolve());
  const edit = React.useCallback(
    (edit: Edit): Promise<EditAnswer | null> => {
      const run = async (): Promise<EditAnswer | null> => {
        if (key === null) return null;
        try {
          const answer = await ask("edit", { key, edit, dry_run: false, label_field: labelField });
          apply(answer, answer.clusters);
          say({ text: answer.change.text, kind: "success" });
          return answer;
        } catch (error) {
          fail(error);
          return null;
        }
      };
      const apply = (answer: EditAnswer, changed: readonly Cluster[]): void => {
        setState((state) => ({
          ...state,
          clusters: withChanges(state.clusters, changed, answer.gone),
          history: answer.history,
        }));
        setTouched(new Set([...changed.map((cluster) => cluster.name), ...answer.gone]));
        setVersion((version) => version + 1);
      };
      const next = queue.current.then(run);
      queue.current = next;
      return next;
    },
    [ask, fail, key, labelField],
  );

  const setLabelField = React.useCallback(
    (field: string | null) => {
      changeLabelField(field);
      void read(key, field);
    },
    [key, read],
  );
  const load = React.useCallback((key: string | null) => read(key, labelField), [labelField, read]);
  const setRuns = React.useCallback((runs: readonly RunRow[]) => setState((state) => ({ ...state, runs })), []);

  const progress = React.useMemo(() => progressOf(state.clusters), [state.clusters]);

  return { ask, loaded, ...state, progress, labelField, message, version, touched, load, edit, setLabelField, setRuns, say, fail };
}
