import { type EventResult, executeOperator, usePanelEvent } from "@fiftyone/operators";
import { usePanelId } from "@fiftyone/spaces";
import React from "react";

import type { Ask } from "./api";

/** An answer of the server: a value, or a message for the user. */
type Answer = { value: unknown } | { message: string };

/** Events that no user caused. The App would show a panel's event as a spinner in its tab: every other second, with these. */
const POLLS = new Set<string>(["poll", "audit_poll"]);

/** Events that show images in the grid. Each is sent when the last is answered, or an earlier view could replace a later one. */
const VIEWS = new Set<string>(["show", "show_pair", "show_unit", "show_node"]);
const LONGEST_WAIT = 10_000; // milliseconds until the next view is sent without an answer to the last

export interface Asking {
  /** Sends an event to the Python panel and returns its answer. */
  ask: Ask;
  /** Whether a view for the grid was asked for and is not answered yet. */
  isShowing(): boolean;
}

/** @param operators URI of the Python method of each event */
export function useAsk(operators: Record<string, unknown>): Asking {
  const panelId = usePanelId();
  const send = usePanelEvent();
  const latest = React.useRef({ panelId, send, operators });
  latest.current = { panelId, send, operators };
  const sendNow = React.useCallback<Ask>((event, params) => {
    const { panelId, send, operators } = latest.current;
    return new Promise((resolve, reject) => {
      const operator = String(operators[event]);
      const callback = (result: EventResult): boolean => {
        const answer = result.result as Answer | null | undefined;
        if (answer && "value" in answer) resolve(answer.value as never);
        else reject(new Error(messageOf(answer, result)));
        return true; // shown here: the App must not show it a second time
      };
      if (!POLLS.has(event)) send(panelId, { operator, params: { ...params }, callback });
      else executeOperator(operator, { ...params, panel_id: panelId, panel_state: {} }, { callback, skipErrorNotification: true });
    });
  }, []);
  const lastView = React.useRef<Promise<unknown> | null>(null); // null: answered
  const isShowing = React.useCallback(() => lastView.current !== null, []);
  const ask = React.useCallback<Ask>(
    (event, params) => {
      if (!VIEWS.has(event)) return sendNow(event, params);
      const before = lastView.current;
      const answer = before === null ? sendNow(event, params) : before.then(() => sendNow(event, params));
      const answered = answer.then(() => undefined, () => undefined); // the caller shows the problem
      const waited = Promise.resolve(before).then(() => new Promise<void>((resolve) => setTimeout(resolve, LONGEST_WAIT)));
      const done = Promise.race([answered, waited]);
      lastView.current = done;
      void done.then(() => {
        if (lastView.current === done) lastView.current = null;
      });
      return answer;
    },
    [sendNow],
  );
  return { ask, isShowing };
}

function messageOf(answer: Answer | null | undefined, result: { error?: unknown; errorMessage?: unknown }): string {
  if (answer && "message" in answer) return answer.message;
  return String(result.errorMessage ?? result.error ?? "The server did not answer.");
}
