import React from "react";

import { AuditSession, type AuditState } from "./auditSession";
import type { Board } from "./useBoard";

const POLL = 2500;

/** The session of the tab Audit, and its current state. */
export function useAudit(board: Board): [AuditSession, AuditState] {
  const { ask, fail, notify } = board;
  const [session] = React.useState(
    () =>
      new AuditSession(ask, {
        fail,
        warn: (text) => notify({ text, kind: "warning" }),
        inform: (text) => notify({ text, kind: "info" }),
      }),
  );
  const state = React.useSyncExternalStore(session.subscribe, session.snapshot);
  React.useEffect(() => {
    void session.load();
    let stopped = false;
    let timer = 0;
    const tick = async (): Promise<void> => {
      if (document.visibilityState === "visible") {
        await session.poll().catch(() => undefined); // the server restarts, or is busy: the next event reports it
      }
      if (!stopped) timer = window.setTimeout(() => void tick(), POLL);
    };
    timer = window.setTimeout(() => void tick(), POLL);
    return () => {
      stopped = true;
      window.clearTimeout(timer);
    };
  }, [session]);
  const audits = JSON.stringify(board.audits);
  React.useEffect(() => {
    const { loaded, audits: known } = session.snapshot();
    if (loaded && audits !== JSON.stringify(known)) void session.load(); // an audit that has just ended is shown at once
  }, [audits, session]);
  return [session, state];
}
