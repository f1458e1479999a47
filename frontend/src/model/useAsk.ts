import { usePanelEvent } from "@fiftyone/operators";
import { usePanelId } from "@fiftyone/spaces";
import React from "react";

import type { Ask } from "./api";

/** An answer of the server: a value, or a message for the user. */
type Answer = { value: unknown } | { message: string };

/**
 * Function that sends an event to the Python panel and returns its answer.
 *
 * @param operators URI of the Python method of each event
 */
export function useAsk(operators: Record<string, unknown>): Ask {
  const panelId = usePanelId();
  const send = usePanelEvent();
  const latest = React.useRef({ panelId, send, operators });
  latest.current = { panelId, send, operators };
  return React.useCallback<Ask>((event, params) => {
    const { panelId, send, operators } = latest.current;
    return new Promise((resolve, reject) => {
      send(panelId, {
        operator: String(operators[event]),
        params: { ...params },
        callback: (result) => {
          const answer = result.result as Answer | null | undefined;
          if (answer && "value" in answer) resolve(answer.value as never);
          else reject(new Error(messageOf(answer, result)));
          return true; // shown here: the App must not show it a second time
        },
      });
    });
  }, []);
}

function messageOf(answer: Answer | null | undefined, result: { error?: unknown; errorMessage?: unknown }): string {
  if (answer && "message" in answer) return answer.message;
  return String(result.errorMessage ?? result.error ?? "The server did not answer.");
}
