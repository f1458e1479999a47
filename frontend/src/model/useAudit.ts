import React from "react";

import { AuditSession, type AuditState } from "./auditSession";
import type { Board } from "./useBoard";

const POLL = 2500;

/** The session of the tab Audit, and what it knows now. */
export function useAudit(board: Board): [AuditSession, AuditState] {
  const { ask, fail, say } = board;
  const [session] = React.useState(
    () =>
      new AuditSession(ask, {
        fail,
        warn: (text) => say({ text, kind: "warning" }),
        inform: (text) => say({ text, kind: "info" }),
      }),
  );
  const state = React.useSyncExternalStore(session.subscribe, session.snapshot);
  React.useEffect(() => {
    void session.load();
    let stopped = false;
    let timer = 0;
    const tick = async (): Promise<void> => {
      if (document.visibilityState === "visible") {
        await session.poll().catch(() => undefined); // the server restarts, or is busy: the next event says so
      }
      if (!stopped) timer = window.setTimeout(() => void tick(), POLL);
    };
    timer = window.setTimeout(() => void tick(), POLL);
    return () => {
      stopped = true;
      window.clearTimeout(timer);
    };
  }, [session]);
  return [session, state];
}
